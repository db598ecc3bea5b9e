// A response on the page: model, thinking, text and timings.

import { Problem, call, events } from "./api.js";
import { copyText } from "./clipboard.js";
import { byId, failure, figures, make, milliseconds } from "./elements.js";
import { MarkdownStream } from "./markdown/stream.js";

const WARNINGS = {
  empty_response_thinking: "The model used all tokens for thinking and returned no text. Increase max tokens or turn thinking off.",
  model_reloaded: "The model hung and was reloaded before it responded.",
  invalid_json: "The response is not the requested JSON.",
  prompt_truncated: "The conversation is longer than the model's context: the model read only a part of it.",
  context_full: "The response ended because the model's context is full.",
  truncate_unsupported: "This version of Ollama ignores truncate and shift.",
};
const DONE_REASONS = { stop: "finished", length: "token limit reached", load: "model loaded", unload: "model unloaded" };

export class Answer {
  constructor({ onStart, onRender, onUsage }) {
    this.content = "";
    this.onStart = onStart;
    this.onUsage = onUsage;
    this.model = make("p", { class: "answered-by" }, make("b", {}, byId("model").value || "Default model"), "waiting…");
    this.text = make("div", { class: "text" });
    this.copy = make("button", { type: "button", class: "copy", "aria-label": "Copy response", hidden: true }, "Copy");
    this.copy.addEventListener("click", () => copyText(this.content, this.copy, "Response"));
    this.live = figures([]);
    this.foot = make("div", { class: "foot" }, this.live, this.copy);
    this.element = make("article", { class: "answer", "data-state": "running", "aria-label": "Response" }, this.model, this.text, this.foot);
    this.markdown = new MarkdownStream(this.text, {
      onRender: () => {
        if (!this.isOver) this.showProgress();
        onRender();
      },
    });
    this.thought = null;
    this.askedAt = performance.now();
    this.firstAt = null;
    this.pieces = 0;
    this.isOver = false;
  }

  async fill(body, signal) {
    const response = await call("api/ollama/chat", { body, signal, accept: "text/event-stream" });
    for await (const event of events(response)) this.take(event);
    if (!this.isOver) throw new Problem("The response was interrupted.");
  }

  take(event) {
    switch (event.type) {
      case "start":
        this.started(event);
        break;
      case "thinking":
        this.count();
        this.think(event.text);
        break;
      case "token":
        this.count();
        if (this.thought && this.content === "") this.thought.parentElement.open = false;
        this.content += event.text;
        this.markdown.append(event.text);
        break;
      case "tool_call":
        this.element.insertBefore(make("p", { class: "warning" }, `Tool call: ${JSON.stringify(event.tool_call)}`), this.foot);
        break;
      case "done":
        this.done(event);
        break;
      case "error":
        throw new Problem(event.detail, { code: event.code, requestId: this.requestId });
    }
  }

  started({ model, requested_model: requested, fallback, request_id: requestId }) {
    this.requestId = requestId;
    this.model.replaceChildren(make("b", {}, model));
    if (fallback) this.model.append(make("span", { class: "badge" }, `fallback for ${requested}`));
    this.onStart();
  }

  think(text) {
    if (!this.thought) {
      this.thought = make("p", { class: "thought" }, "");
      const details = make("details", { class: "thinking", open: true }, make("summary", {}, "Thinking"), this.thought);
      this.element.insertBefore(details, this.text);
    }
    this.thought.firstChild.appendData(text);
    this.markdown.schedule();
  }

  count() {
    this.firstAt ??= performance.now();
    this.pieces += 1;
  }

  showProgress() {
    const seconds = (performance.now() - this.firstAt) / 1000;
    const rate = seconds > 0.3 ? ((this.pieces - 1) / seconds).toFixed(1) : null;
    this.show([["First token", this.firstToken], ["Tokens/s", rate]]);
  }

  get firstToken() {
    return this.firstAt === null ? null : milliseconds(this.firstAt - this.askedAt);
  }

  show(entries) {
    const next = figures(entries);
    this.live.replaceWith(next);
    this.live = next;
  }

  done({ done_reason: reason, usage, timings, warnings }) {
    this.isOver = true;
    this.onUsage(usage);
    this.show([
      ["First token", this.firstToken],
      ["Tokens/s", timings.tokens_per_second?.toFixed(1)],
      ["Tokens", usage.completion_tokens === null ? null : `${usage.prompt_tokens ?? "?"} in, ${usage.completion_tokens} out`],
      ["Total", milliseconds(timings.total_ms ?? performance.now() - this.askedAt)],
      ["Loading", timings.load_ms > 100 ? milliseconds(timings.load_ms) : null],
      ["End", DONE_REASONS[reason] ?? reason],
    ]);
    for (const warning of warnings) {
      if (warning !== "fallback_model") this.element.append(make("p", { class: "warning" }, WARNINGS[warning] ?? warning));
    }
  }

  stopped() {
    this.isOver = true;
    this.show([["First token", this.firstToken], ["Pieces", String(this.pieces)], ["End", "stopped"]]);
  }

  failed(problem) {
    this.isOver = true;
    if (this.firstAt === null) this.live.remove();
    this.element.append(failure(problem));
  }

  end() {
    this.isOver = true;
    this.markdown.finish();
    this.element.dataset.state = "ended";
    if (this.model.lastChild?.data === "waiting…") this.model.lastChild.remove();
    if (this.content === "") this.text.remove();
    this.copy.hidden = this.content === "";
  }
}

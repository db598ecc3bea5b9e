// The first tab: a conversation whose answers appear as they are written.

import { Problem, call, events } from "./api.js";
import { byId, failure, figures, make, milliseconds } from "./elements.js";

const WARNINGS = {
  empty_response_thinking: "The model used up its tokens while thinking and wrote no answer. Allow more tokens, or turn thinking off.",
  invalid_json: "The answer is not the JSON that was asked for.",
};
const DONE_REASONS = { stop: "finished", length: "token limit reached", load: "model loaded", unload: "model unloaded" };

const empty = byId("empty");
let history = [];
let running = null;

export function startConversation({ onUnauthorized }) {
  const prompt = byId("prompt");
  const touch = matchMedia("(pointer: coarse)").matches;
  byId("composer-hint").textContent = touch ? "" : "Enter sends, Shift+Enter starts a new line";
  prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !touch) {
      event.preventDefault();
      byId("composer").requestSubmit();
    }
  });
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = prompt.value.trim();
    if (!text || running || !byId("temperature").reportValidity() || !byId("max-tokens").reportValidity()) return;
    prompt.value = "";
    ask(text, onUnauthorized);
  });
  byId("stop").addEventListener("click", () => running?.abort());
  byId("new-conversation").addEventListener("click", () => {
    running?.abort();
    history = [];
    byId("messages").replaceChildren(empty);
    prompt.focus();
  });
  byId("starters").addEventListener("click", (event) => {
    const starter = event.target.closest(".starter");
    if (!starter) return;
    prompt.value = starter.textContent;
    prompt.focus();
  });
}

async function ask(text, onUnauthorized) {
  const turn = { role: "user", content: text };
  const conversation = history;
  const stopper = new AbortController();
  running = stopper;
  setRunning(true);
  empty.remove();
  if (matchMedia("(max-width: 820px)").matches) byId("settings").open = false;
  const answer = new Answer();
  const said = make("div", { class: "said" }, make("p", {}, text));
  byId("messages").append(said, answer.element);
  scrollToEnd(true);
  try {
    await answer.fill(request([...conversation, turn]), stopper.signal);
    if (answer.content) conversation.push(turn, { role: "assistant", content: answer.content });
  } catch (error) {
    if (error.name === "AbortError") {
      answer.stopped();
      if (answer.content) conversation.push(turn, { role: "assistant", content: answer.content });
    } else if (error.code === "unauthorized") {
      said.remove();
      answer.element.remove();
      byId("prompt").value ||= text;
      onUnauthorized();
    } else {
      answer.failed(error instanceof Problem ? error : new Problem(String(error)));
      byId("prompt").value ||= text;
    }
  } finally {
    answer.end();
    if (running === stopper) {
      running = null;
      setRunning(false);
    }
    scrollToEnd();
  }
}

function request(messages) {
  const number = (id) => (byId(id).value === "" ? undefined : Number(byId(id).value));
  const system = byId("system").value.trim();
  const think = byId("think").value;
  return {
    model: byId("model").value || undefined,
    messages: system ? [{ role: "system", content: system }, ...messages] : messages,
    temperature: number("temperature"),
    max_tokens: number("max-tokens"),
    think: think === "" ? undefined : ({ true: true, false: false }[think] ?? think),
    fallback: byId("fallback").checked,
    stream: true,
  };
}

function setRunning(isRunning) {
  byId("stop").hidden = !isRunning;
  byId("send").disabled = isRunning;
  byId("talk-status").textContent = isRunning ? "The model is answering." : "";
}

/** Follows the text, unless somebody has scrolled up to read. */
function scrollToEnd(always = false) {
  const box = byId("messages");
  const scrolled = box.scrollHeight > box.clientHeight + 1 ? box : document.scrollingElement;
  if (always || scrolled.scrollHeight - scrolled.scrollTop - scrolled.clientHeight < 120) scrolled.scrollTop = scrolled.scrollHeight;
}

/** One answer on the page. */
class Answer {
  constructor() {
    this.content = "";
    this.model = make("p", { class: "answered-by" }, make("b", {}, byId("model").value || "Default model"), "waiting…");
    this.text = make("p", { class: "text" }, "");
    this.element = make("article", { class: "answer", "data-state": "running", "aria-label": "Answer" }, this.model, this.text);
    this.thought = null;
    this.askedAt = performance.now();
    this.firstAt = null;
    this.pieces = 0;
    this.live = figures([]);
    this.element.append(this.live);
  }

  async fill(body, signal) {
    const response = await call("api/ollama/chat", { body, signal, accept: "text/event-stream" });
    let isOver = false;
    for await (const event of events(response)) {
      this.take(event);
      isOver ||= event.type === "done";
      scrollToEnd();
    }
    if (!isOver) throw new Problem("The answer broke off.");
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
        this.text.firstChild.appendData(event.text);
        break;
      case "tool_call":
        this.element.insertBefore(make("p", { class: "warning" }, `Tool call: ${JSON.stringify(event.tool_call)}`), this.live);
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
  }

  think(text) {
    if (!this.thought) {
      this.thought = make("p", { class: "thought" }, "");
      const details = make("details", { class: "thinking", open: true }, make("summary", {}, "Thinking"), this.thought);
      this.element.insertBefore(details, this.text);
    }
    this.thought.firstChild.appendData(text);
  }

  count() {
    const now = performance.now();
    this.firstAt ??= now;
    this.pieces += 1;
    const seconds = (now - this.firstAt) / 1000;
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
    byId("talk-status").textContent = "The answer is complete.";
  }

  stopped() {
    this.show([["First token", this.firstToken], ["Pieces", String(this.pieces)], ["End", "stopped"]]);
  }

  failed(problem) {
    if (this.firstAt === null) this.live.remove();
    this.element.append(failure(problem));
  }

  end() {
    this.element.dataset.state = "ended";
    if (this.model.lastChild?.data === "waiting…") this.model.lastChild.remove();
    if (this.content === "") this.text.remove();
  }
}

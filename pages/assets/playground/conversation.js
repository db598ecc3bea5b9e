// Chat tab: a conversation with streamed responses.

import { showRoom } from "./abilities.js";
import { Answer } from "./answer.js";
import { Problem } from "./api.js";
import { announce, copyText } from "./clipboard.js";
import { byId, make } from "./elements.js";
import { setAnswering } from "./health.js";
import { imageNames, returnImages, startImages, takeImages } from "./images.js";

const empty = byId("empty");
const prompt = byId("prompt");
const isTouch = matchMedia("(pointer: coarse)").matches;

let history = [];
let running = null;

export function startConversation({ onUnauthorized }) {
  byId("composer-hint").textContent = isTouch ? "" : "Enter sends, Shift+Enter adds a line, Escape stops";
  prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !isTouch) {
      event.preventDefault();
      byId("composer").requestSubmit();
    }
  });
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = prompt.value.trim();
    if (!text || running || !byId("temperature").reportValidity() || !byId("max-tokens").reportValidity()) return;
    prompt.value = "";
    keepFocus();
    ask(text, onUnauthorized);
  });
  startImages();
  byId("stop").addEventListener("click", stop);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.isComposing || !running || byId("key-dialog").open) return;
    event.preventDefault();
    stop();
  });
  byId("new-conversation").addEventListener("click", () => {
    running?.abort();
    history = [];
    showRoom(null);
    byId("messages").replaceChildren(empty);
    prompt.focus();
  });
  byId("starters").addEventListener("click", (event) => {
    const starter = event.target.closest(".starter");
    if (!starter) return;
    prompt.value = starter.textContent;
    prompt.focus();
  });
  byId("messages").addEventListener("click", ({ target }) => {
    const button = target.closest("figure.code .copy");
    if (button) copyText(button.closest("figure").querySelector("pre").textContent, button, "Code");
  });
}

/** The conversation so far: finished turns, and the draft in the composer. */
export function currentConversation() {
  return { turns: [...history], draft: prompt.value.trim() };
}

/** The changed settings, by their names in a request. */
export function currentSettings() {
  const number = (id) => (byId(id).value === "" || !byId(id).validity.valid ? undefined : Number(byId(id).value));
  const think = byId("think").value;
  return {
    system: byId("system").value.trim(),
    model: byId("model").value || undefined,
    temperature: number("temperature"),
    max_tokens: number("max-tokens"),
    think: think === "" ? undefined : ({ true: true, false: false }[think] ?? think),
    fallback: byId("fallback").checked,
  };
}

function stop() {
  running?.abort();
  keepFocus();
}

/** Focuses the composer: its text, or on touch screens its button, as the text would open a keyboard. */
function keepFocus() {
  if (!isTouch) prompt.focus();
  else if (document.activeElement !== prompt) byId("send").focus();
}

async function ask(text, onUnauthorized) {
  const images = takeImages();
  const turn = { role: "user", content: text, ...(images.length && { images: images.map(({ data }) => data) }) };
  const conversation = history;
  const stopper = new AbortController();
  running = stopper;
  setRunning(true);
  empty.remove();
  if (matchMedia("(max-width: 820px)").matches) byId("settings").open = false;
  const answer = new Answer({ onStart: () => setAnswering(running !== null), onRender: scrollToEnd, onUsage: showRoom });
  const said = make("div", { class: "said" }, make("p", {}, text, ...imageNames(images)));
  byId("messages").append(said, answer.element);
  scrollToEnd(true);
  try {
    await answer.fill(request([...conversation, turn]), stopper.signal);
    if (answer.content) conversation.push(turn, { role: "assistant", content: answer.content });
    announce("The response is complete.");
  } catch (error) {
    if (error.name === "AbortError") {
      answer.stopped();
      if (answer.content) conversation.push(turn, { role: "assistant", content: answer.content });
      announce("The response was stopped.");
    } else if (error.code === "unauthorized") {
      said.remove();
      answer.element.remove();
      prompt.value ||= text;
      returnImages(images);
      onUnauthorized();
    } else {
      answer.failed(error instanceof Problem ? error : new Problem(String(error)));
      prompt.value ||= text;
      returnImages(images);
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
  const { system, ...settings } = currentSettings();
  return { ...settings, messages: system ? [{ role: "system", content: system }, ...messages] : messages, stream: true };
}

function setRunning(isRunning) {
  if (!isRunning && document.activeElement === byId("stop")) keepFocus();
  byId("stop").hidden = !isRunning;
  // Not `disabled`, which would remove the focus.
  byId("send").setAttribute("aria-disabled", String(isRunning));
  if (isRunning) announce("The model is responding.");
  setAnswering(isRunning);
}

/** Scrolls to the end, unless the user has scrolled up. */
function scrollToEnd(always = false) {
  const box = byId("messages");
  if (always || box.scrollHeight - box.scrollTop - box.clientHeight < 120) box.scrollTop = box.scrollHeight;
}

// Code tab: the conversation as a program that sends the same request.

import { hasKey } from "./api.js";
import { copyText } from "./clipboard.js";
import { currentConversation, currentSettings } from "./conversation.js";
import { byId, make } from "./elements.js";
import { defaultModel } from "./models.js";
import { SNIPPETS } from "./snippets.js";

const EXAMPLE = "Write one headline about this week's waiver wire.";

export function startCode() {
  const choices = SNIPPETS.map(({ id, name }, i) =>
    make("label", { class: "choice" }, make("input", { type: "radio", name: "snippet", value: id, checked: i === 0 }), make("span", {}, name)),
  );
  byId("snippet-choices").append(...choices);
  byId("snippet-choices").addEventListener("change", showCode);
  byId("copy-snippet").addEventListener("click", () => copyText(byId("snippet").textContent, byId("copy-snippet"), "Code"));
}

/** Shows the program for the current conversation. */
export function showCode() {
  const chosen = document.querySelector("input[name=snippet]:checked").value;
  const { system, ...settings } = currentSettings();
  const { messages, source } = messagesOf(currentConversation());
  byId("snippet-source").textContent = source;
  byId("snippet").textContent = SNIPPETS.find(({ id }) => id === chosen).write({
    base: new URL(".", document.baseURI).href.replace(/\/$/, ""),
    needsKey: hasKey(),
    messages: system ? [{ role: "system", content: system }, ...messages] : messages,
    settings: { ...settings, model: settings.model ?? defaultModel() },
  });
}

/** The messages of the program: up to the draft in the composer, otherwise up to the last user message. */
function messagesOf({ turns, draft }) {
  if (draft) {
    return { messages: [...turns, { role: "user", content: draft }], source: "Sends the draft and the conversation before it." };
  }
  if (turns.length) return { messages: turns.slice(0, -1), source: "Repeats the last message of the conversation." };
  return { messages: [{ role: "user", content: EXAMPLE }], source: "An example; it changes once there is a conversation or draft." };
}

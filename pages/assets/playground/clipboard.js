// Copies text, with feedback on the button and in a live region for screen readers.

import { byId } from "./elements.js";

const SECONDS_SHOWN = 2;

/** Copies a text; `name` is what the announcement calls it. */
export async function copyText(text, button, name) {
  const isCopied = await write(text);
  announce(isCopied ? `${name} copied.` : `${name} could not be copied.`);
  show(button, isCopied ? "Copied" : "Not copied");
}

/** Announces a sentence to screen readers, even if it equals the previous one. */
export function announce(sentence) {
  const region = byId("announcement");
  region.textContent = "";
  setTimeout(() => (region.textContent = sentence), 50);
}

const labels = new WeakMap();

function show(button, label) {
  const shown = labels.get(button) ?? { label: button.textContent };
  clearTimeout(shown.timer);
  button.textContent = label;
  shown.timer = setTimeout(() => {
    button.textContent = shown.label;
    labels.delete(button);
  }, SECONDS_SHOWN * 1000);
  labels.set(button, shown);
}

async function write(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return writeBySelection(text);
  }
}

/** Fallback for pages without TLS, where browsers have no `navigator.clipboard`. */
function writeBySelection(text) {
  const field = document.createElement("textarea");
  const focused = document.activeElement;
  field.value = text;
  field.className = "unseen";
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return isCopied;
}

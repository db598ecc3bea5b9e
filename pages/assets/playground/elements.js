// Creates elements with text nodes: the text of a model is never parsed as HTML.

/** Creates an element with attributes and children; strings become text nodes. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Creates the block that shows a problem: its message, and below it the code and request id. */
export function failure(problem) {
  const particulars = [problem.code, problem.requestId && `request ${problem.requestId}`].filter(Boolean).join(" · ");
  const block = make("p", { class: "failure", role: "alert" }, problem.message);
  if (particulars) block.append(make("small", {}, particulars));
  return block;
}

/** Creates a list of names and values; entries without a value are omitted. */
export function figures(entries) {
  const known = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return make("dl", { class: "figures" }, ...known.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

export function milliseconds(value) {
  if (value === null || value === undefined) return null;
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(value < 10000 ? 2 : 1)} s`;
}

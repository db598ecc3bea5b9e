// Elements are built here and texts set as text: what a model wrote is never read as HTML.

/** Makes an element with attributes and children; strings become text. */
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

/** Makes the block that shows a problem: its sentence, below it what support would ask for. */
export function failure(problem) {
  const particulars = [problem.code, problem.requestId && `request ${problem.requestId}`].filter(Boolean).join(" · ");
  const block = make("p", { class: "failure", role: "alert" }, problem.message);
  if (particulars) block.append(make("small", {}, particulars));
  return block;
}

/** Makes a list of figures from names and values; those without a value are left out. */
export function figures(entries) {
  const known = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return make("dl", { class: "figures" }, ...known.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

export function milliseconds(value) {
  if (value === null || value === undefined) return null;
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(value < 10000 ? 2 : 1)} s`;
}

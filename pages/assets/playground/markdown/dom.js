// Makes elements from trees. Text becomes text nodes, never HTML.

import { make } from "../elements.js";

/** Makes the children of an element, from one position on, be what the trees say; what is alike stays in place. */
export function updateChildren(element, trees, from = 0) {
  const present = element.childNodes;
  trees.forEach((tree, i) => {
    const old = present[from + i];
    if (!old) element.append(build(tree));
    else update(old, tree);
  });
  while (present.length > from + trees.length) element.lastChild.remove();
}

function update(old, tree) {
  if (typeof tree === "string") {
    if (old.nodeType === Node.TEXT_NODE) setText(old, tree);
    else old.replaceWith(tree);
  } else if (old.localName === tree.tag && hasAttributes(old, tree.attributes)) {
    updateChildren(old, tree.children);
  } else {
    old.replaceWith(build(tree));
  }
}

/** Changes a text by what was added to it, so that a selection in it stays. */
function setText(node, text) {
  if (node.data === text) return;
  if (text.startsWith(node.data)) node.appendData(text.slice(node.data.length));
  else node.data = text;
}

function hasAttributes(element, attributes) {
  return Object.entries(attributes).every(([name, value]) => element.getAttribute(name) === (value ?? null));
}

function build(tree) {
  if (typeof tree === "string") return document.createTextNode(tree);
  return make(tree.tag, tree.attributes, ...tree.children.map(build));
}

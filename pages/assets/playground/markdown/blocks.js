// Block Markdown: paragraphs, headings, lists, quotes, code, tables, rules. Raw HTML is text like any other.

import { node, parseInline } from "./inline.js";

const MAX_DEPTH = 12;
const MAX_LANGUAGE = 40;
const MAX_RULE = 200;
const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const HEADING = /^ {0,3}(#{1,6})(?=[ \t]|$)/;
const QUOTE = /^ {0,3}> ?/;
const MARKER = /^( {0,3})([-*+]|\d{1,9}[.)])(?=[ \t]|$)( {0,5})/;

const isBlank = (line) => line.trim() === "";

/** Parses lines to blocks: each with the line it starts in, and its tree. */
export function parseBlocks(lines, depth = 0) {
  const blocks = [];
  for (let at = 0; at < lines.length; ) {
    if (isBlank(lines[at])) {
      at += 1;
      continue;
    }
    const { tree, end } = readBlock(lines, at, depth);
    blocks.push({ start: at, tree });
    at = end;
  }
  return blocks;
}

function readBlock(lines, at, depth) {
  const line = lines[at];
  if (fenceOf(line)) return readCode(lines, at);
  if (HEADING.test(line)) return { tree: heading(line), end: at + 1 };
  if (isRule(line)) return { tree: node("hr", []), end: at + 1 };
  if (depth < MAX_DEPTH && QUOTE.test(line)) return readQuote(lines, at, depth);
  if (depth < MAX_DEPTH && markerOf(line)) return readList(lines, at, depth);
  if (isTable(lines, at)) return readTable(lines, at);
  return readParagraph(lines, at);
}

/** Says whether a line ends the paragraph before it. */
function interrupts(lines, at) {
  const line = lines[at];
  if (fenceOf(line) || HEADING.test(line) || isRule(line) || QUOTE.test(line) || isTable(lines, at)) return true;
  const marker = markerOf(line);
  return marker !== null && !isBlank(line.slice(marker.width)) && (marker.start === undefined || marker.start === 1);
}

function readParagraph(lines, at) {
  let end = at + 1;
  while (end < lines.length && !isBlank(lines[end]) && !interrupts(lines, end)) end += 1;
  const text = lines.slice(at, end).map((line) => line.trim()).join("\n");
  return { tree: node("p", parseInline(text)), end };
}

function heading(line) {
  const [start, { length }] = HEADING.exec(line);
  let text = line.slice(start.length).trim();
  const closing = /(?:^|[ \t])#+$/.exec(text.slice(-80));
  if (closing) text = text.slice(0, text.length - closing[0].length).trim();
  return node(`h${length}`, parseInline(text));
}

function isRule(line) {
  if (line.length > MAX_RULE || !/^ {0,3}[-*_]/.test(line)) return false;
  const marks = line.replace(/[ \t]/g, "");
  return marks.length >= 3 && marks === marks[0].repeat(marks.length);
}

// Code

function fenceOf(line) {
  const match = FENCE.exec(line);
  if (!match) return null;
  const [start, mark] = match;
  const info = line.slice(start.length).trim();
  return mark[0] === "`" && info.includes("`") ? null : { mark, info, indent: start.length - mark.length };
}

function closes(line, { mark }) {
  const match = FENCE.exec(line);
  return match !== null && match[1][0] === mark[0] && match[1].length >= mark.length && isBlank(line.slice(match[0].length));
}

/** Returns the fence that is open behind a line, given the one open before it. */
function openFence(line, open) {
  if (open) return closes(line, open) ? null : open;
  return fenceOf(line);
}

function readCode(lines, at) {
  const fence = fenceOf(lines[at]);
  let end = at + 1;
  while (end < lines.length && !closes(lines[end], fence)) end += 1;
  const code = lines.slice(at + 1, end).map((line) => unindent(line, fence.indent)).join("\n");
  return { tree: codeBlock(code, fence.info.split(/\s/, 1)[0].slice(0, MAX_LANGUAGE)), end: end + 1 };
}

/** The tree of a code block with its language and a button that copies it. */
export function codeBlock(code, language) {
  const copy = node("button", ["Copy"], { type: "button", class: "copy", "aria-label": "Copy code" });
  return node("figure", [
    node("figcaption", [node("span", language ? [language] : []), copy]),
    node("pre", [node("code", [code])], { tabindex: "0" }),
  ], { class: "code" });
}

// Quotes and lists

function readQuote(lines, at, depth) {
  const inner = [];
  let fence = null;
  let end = at;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    const isQuoted = QUOTE.test(line);
    const continues = !fence && !isBlank(line) && !isBlank(inner.at(-1) ?? "") && !HEADING.test(inner.at(-1)) && !interrupts(lines, end);
    if (!isQuoted && !continues) break;
    inner.push(isQuoted ? line.replace(QUOTE, "") : line);
    fence = openFence(inner.at(-1), fence);
  }
  return { tree: node("blockquote", parseBlocks(inner, depth + 1).map(({ tree }) => tree)), end };
}

/** Reads the marker of a list item: its kind, its number, and how far its text is indented. */
function markerOf(line) {
  const match = MARKER.exec(line);
  if (!match || isRule(line)) return null;
  const [whole, indent, mark, spaces] = match;
  const isFar = spaces.length > 4 || whole.length === line.length;
  const number = mark.length > 1 ? Number(mark.slice(0, -1)) : undefined;
  const bare = indent.length + mark.length;
  return { indent: indent.length, kind: mark.at(-1), start: number, width: isFar ? bare + 1 : Math.max(whole.length, bare + 1) };
}

function readList(lines, at, depth) {
  const { kind, start } = markerOf(lines[at]);
  const items = [];
  let end = at;
  for (;;) {
    const marker = end < lines.length ? markerOf(lines[end]) : null;
    if (marker?.kind !== kind) break;
    const item = readItem(lines, end, marker);
    items.push(node("li", itemChildren(item.lines, depth)));
    end = item.end;
  }
  const isOrdered = start !== undefined;
  return { tree: node(isOrdered ? "ol" : "ul", items, { start: isOrdered && start !== 1 ? String(start) : undefined }), end };
}

function readItem(lines, at, { indent, width }) {
  const inner = [withTaskBox(lines[at].slice(width))];
  let fence = openFence(inner[0], null);
  let end = at + 1;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    const column = indentOf(line);
    // Models often indent a nested list by less than the text of its parent: two columns are enough.
    const isInside = column >= width || (column >= indent + 2 && markerOf(line.trimStart()) !== null);
    const continues = !fence && !isBlank(inner.at(-1)) && markerOf(line) === null && !interrupts(lines, end);
    if (!isBlank(line) && !isInside && !continues) break;
    inner.push(unindent(line, width));
    fence = openFence(inner.at(-1), fence);
  }
  return { lines: inner, end };
}

function itemChildren(lines, depth) {
  const [first, ...rest] = parseBlocks(lines, depth + 1).map(({ tree }) => tree);
  if (!first) return [];
  return first.tag === "p" ? [...first.children, ...rest] : [first, ...rest];
}

function withTaskBox(text) {
  const box = /^\s{0,4}\[([ xX])\] /.exec(text);
  return box ? `${box[1] === " " ? "☐" : "☑"} ${text.slice(box[0].length)}` : text;
}

function indentOf(line) {
  let column = 0;
  for (const character of line) {
    if (character === " ") column += 1;
    else if (character === "\t") column += 4 - (column % 4);
    else break;
  }
  return column;
}

/** Takes up to so many columns of white space from the start of a line. */
function unindent(line, columns) {
  let column = 0;
  let at = 0;
  for (; column < columns && (line[at] === " " || line[at] === "\t"); at += 1) column += line[at] === " " ? 1 : 4 - (column % 4);
  return " ".repeat(Math.max(0, column - columns)) + line.slice(at);
}

// Tables

function isTable(lines, at) {
  const [head, delimiters] = [lines[at], lines[at + 1]];
  if (!head.includes("|") || delimiters === undefined || !delimiters.includes("-") || !/^[ \t|:-]+$/.test(delimiters)) return false;
  const columns = cellsOf(delimiters);
  return columns.every((cell) => /^:?-+:?$/.test(cell)) && columns.length === cellsOf(head).length;
}

function readTable(lines, at) {
  const alignments = cellsOf(lines[at + 1]).map((cell) => {
    if (!cell.endsWith(":")) return undefined;
    return cell.startsWith(":") ? "centred" : "right";
  });
  let end = at + 2;
  while (end < lines.length && !isBlank(lines[end]) && !interrupts(lines, end)) end += 1;
  const row = (line, tag) => {
    const cells = cellsOf(line).slice(0, alignments.length);
    return node("tr", cells.map((cell, i) => node(tag, parseInline(cell), { class: alignments[i] })));
  };
  const body = lines.slice(at + 2, end).map((line) => row(line, "td"));
  const table = node("table", [node("thead", [row(lines[at], "th")]), node("tbody", body)]);
  return { tree: node("div", [table], { class: "table", tabindex: "0", role: "region", "aria-label": "Table" }), end };
}

/** Splits a row at its bars; `\|` is a bar in the text. */
function cellsOf(line) {
  const cells = line.trim().replace(/^\|/, "").split(/(?<!\\)\|/);
  if (cells.length > 1 && isBlank(cells.at(-1))) cells.pop();
  return cells.map((cell) => cell.trim().replaceAll("\\|", "|"));
}

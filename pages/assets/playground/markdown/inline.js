// Inline Markdown: emphasis, code spans, links, line breaks. Returns a tree of strings and {tag, attributes, children}.

import { matchAt, readBareUrl, readReference, readTarget, safeUrl } from "./links.js";

const PLAIN = /(?:[^\\`*_~[\]!<&\nh]|h(?!ttps?:\/\/)){1,4096}/y;
const ANGLED_URL = /<((?:https?:\/\/|mailto:)[^\s<>]{1,2048})>/y;
const RUN = { "*": /\*+/y, _: /_+/y, "~": /~+/y, "`": /`+/y };
const MAX_RUN = 6;
const MAX_OPEN = 32;

export function node(tag, children, attributes = {}) {
  return { tag, attributes, children };
}

export function link(url, children, title) {
  return node("a", children, { href: url, title, target: "_blank", rel: "noopener noreferrer" });
}

/** Parses the text of one paragraph, heading or cell. */
export function parseInline(text) {
  return new InlineParser(text).parse();
}

class InlineParser {
  constructor(text) {
    this.text = text;
    this.at = 0;
    this.tokens = [];
    this.brackets = [];
    this.codeRuns = null;
  }

  parse() {
    while (this.at < this.text.length) this.step();
    return nest(this.tokens);
  }

  step() {
    const plain = matchAt(PLAIN, this.text, this.at);
    if (plain) this.take(plain[0], PLAIN.lastIndex);
    else this.special(this.text[this.at]);
  }

  /** Adds a token and goes on behind it. */
  take(token, end) {
    this.tokens.push(token);
    this.at = end;
  }

  special(character) {
    switch (character) {
      case "\\": return this.escape();
      case "`": return this.codeSpan();
      case "\n": return this.take(node("br", []), this.at + 1);
      case "[": return this.openBracket(false);
      case "]": return this.closeBracket();
      case "!": return this.text[this.at + 1] === "[" ? this.openBracket(true) : this.take("!", this.at + 1);
      case "<": return this.angledUrl();
      case "h": return this.bareUrl();
      case "&": return this.reference();
      default: return this.delimiters(character);
    }
  }

  escape() {
    const next = this.text[this.at + 1];
    if (next === "\n") this.take(node("br", []), this.at + 2);
    else if (next && /[!-/:-@[-`{-~]/.test(next)) this.take(next, this.at + 2);
    else this.take("\\", this.at + 1);
  }

  codeSpan() {
    const [run] = matchAt(RUN["`"], this.text, this.at);
    const start = this.at + run.length;
    const end = this.closingRun(run.length, start);
    if (end === undefined) return this.take(run, start);
    const code = this.text.slice(start, end).replaceAll("\n", " ");
    const isPadded = code.startsWith(" ") && code.endsWith(" ") && code.trim() !== "";
    this.take(node("code", [isPadded ? code.slice(1, -1) : code]), end + run.length);
  }

  /** Returns where the next run of so many backticks is; all runs are found once, so that this stays linear. */
  closingRun(length, from) {
    if (!this.codeRuns) {
      this.codeRuns = new Map();
      for (const { 0: run, index } of [...this.text.matchAll(/`+/g)].reverse()) {
        if (!this.codeRuns.has(run.length)) this.codeRuns.set(run.length, []);
        this.codeRuns.get(run.length).push(index);
      }
    }
    const positions = this.codeRuns.get(length) ?? [];
    while (positions.length && positions.at(-1) < from) positions.pop();
    return positions.at(-1);
  }

  openBracket(isImage) {
    this.brackets.push({ index: this.tokens.length, isImage });
    this.take(isImage ? "![" : "[", this.at + (isImage ? 2 : 1));
  }

  closeBracket() {
    const opening = this.brackets.pop();
    const target = opening && readTarget(this.text, this.at + 1);
    const url = target && safeUrl(target.written);
    if (!url) return this.take("]", this.at + 1);
    const children = withoutLinks(nest(this.tokens.splice(opening.index).slice(1)));
    // An image is not loaded: it would tell its server who reads. It becomes a link.
    const shown = children.length ? children : [opening.isImage ? "image" : url];
    this.take(link(url, shown, target.title), target.end);
    // A link may hold an image, but no link.
    const outer = this.brackets.at(-1);
    this.brackets = opening.isImage && outer && !outer.isImage ? [outer] : [];
  }

  angledUrl() {
    const match = matchAt(ANGLED_URL, this.text, this.at);
    const url = match && safeUrl(match[1]);
    if (url) this.take(link(url, [match[1]]), ANGLED_URL.lastIndex);
    else this.take("<", this.at + 1);
  }

  bareUrl() {
    const found = /\w/.test(this.text[this.at - 1] ?? "") ? null : readBareUrl(this.text, this.at);
    if (found) this.take(link(found.url, [found.text]), found.end);
    else this.take("h", this.at + 1);
  }

  reference() {
    const found = readReference(this.text, this.at);
    if (found) this.take(found.text, found.end);
    else this.take("&", this.at + 1);
  }

  /** Takes a run of `*`, `_` or `~~`, and says whether it may open or close emphasis (CommonMark's flanking rules). */
  delimiters(character) {
    const [run] = matchAt(RUN[character], this.text, this.at);
    const end = this.at + run.length;
    const isUsable = character === "~" ? run.length === 2 : run.length <= MAX_RUN;
    if (!isUsable) return this.take(run, end);
    const before = kindOf(this.text[this.at - 1]);
    const after = kindOf(this.text[end]);
    const isLeft = after !== "space" && (after !== "mark" || before !== "other");
    const isRight = before !== "space" && (before !== "mark" || after !== "other");
    const isUnderscore = character === "_";
    this.take({
      character,
      count: run.length,
      length: run.length,
      opens: isLeft && (!isUnderscore || !isRight || before === "mark"),
      closes: isRight && (!isUnderscore || !isLeft || after === "mark"),
    }, end);
  }
}

function kindOf(character) {
  if (character === undefined || /\s/.test(character)) return "space";
  return /[\p{P}\p{S}]/u.test(character) ? "mark" : "other";
}

/** Turns delimiter runs into em, strong and del; what has no partner stays text. */
function nest(tokens) {
  const out = [];
  const openers = [];
  for (const token of tokens) {
    const isRun = token.character !== undefined;
    if (isRun && token.closes) close(token, out, openers);
    if (isRun && token.count && token.opens && openers.length < MAX_OPEN) {
      openers.push({ run: token, index: out.length });
    }
    if (!isRun || token.count) out.push(token);
  }
  return asChildren(out);
}

function close(run, out, openers) {
  while (run.count) {
    const found = openers.findLastIndex(({ run: opener }) => fits(opener, run));
    if (found < 0) return;
    const { run: opener, index } = openers[found];
    openers.length = found + 1;
    const count = Math.min(opener.count, run.count, 2);
    const tag = run.character === "~" ? "del" : count === 2 ? "strong" : "em";
    const children = asChildren(out.splice(index + 1));
    opener.count -= count;
    run.count -= count;
    if (!opener.count) {
      openers.pop();
      out.pop();
    }
    out.push(node(tag, children));
  }
}

/** Says whether two runs make a pair; the rule of three keeps `*a**b*` one emphasis. */
function fits(opener, closer) {
  if (opener.character !== closer.character) return false;
  const isBoth = opener.closes || closer.opens;
  return !isBoth || (opener.length + closer.length) % 3 !== 0 || (opener.length % 3 === 0 && closer.length % 3 === 0);
}

/** Joins neighbouring texts, with runs that were not used as they were written. */
function asChildren(items) {
  const children = [];
  let text = "";
  for (const item of items) {
    if (typeof item === "string") text += item;
    else if (item.character !== undefined) text += item.character.repeat(item.count);
    else {
      if (text) children.push(text);
      text = "";
      children.push(item);
    }
  }
  if (text) children.push(text);
  return children;
}

/** A link holds no links. */
function withoutLinks(children) {
  return children.flatMap((child) => {
    if (typeof child === "string") return [child];
    if (child.tag === "a") return child.children;
    return [{ ...child, children: withoutLinks(child.children) }];
  });
}

// Link targets and character references. Only http, https and mailto links are made.

const PROTOCOLS = new Set(["http:", "https:", "mailto:"]);
const MAX_URL = 2048;
const MAX_PARENTHESES = 8;
const REFERENCE = /&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([a-zA-Z]{2,8}));/;
const NAMES = {
  amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", copy: "©", reg: "®", hellip: "…", ndash: "–", mdash: "—",
  lsquo: "‘", rsquo: "’", ldquo: "“", rdquo: "”", bull: "•", middot: "·", times: "×", deg: "°", euro: "€", colon: ":",
};

const referenceAt = new RegExp(REFERENCE, "y");
const everyReference = new RegExp(REFERENCE, "g");

/** Reads a character reference such as `&amp;` at a position: its text and its end, or null. */
export function readReference(text, at) {
  referenceAt.lastIndex = at;
  const match = referenceAt.exec(text);
  if (!match) return null;
  const decoded = decode(match);
  return decoded === null ? null : { text: decoded, end: at + match[0].length };
}

function decode([, decimal, hexadecimal, name]) {
  if (name) return Object.hasOwn(NAMES, name) ? NAMES[name] : null;
  const code = decimal ? Number(decimal) : Number.parseInt(hexadecimal, 16);
  const isCharacter = code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
  return isCharacter ? String.fromCodePoint(code) : "\ufffd";
}

/** Returns the absolute URL of a link as written, or null if a link must not lead there. */
export function safeUrl(written) {
  const plain = written
    .replace(/\\([!-/:-@[-`{-~])/g, "$1")
    .replace(everyReference, (whole, ...groups) => decode([whole, ...groups]) ?? whole);
  try {
    const url = new URL(plain);
    return PROTOCOLS.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

const ANGLED = /\(\s{0,9}<([^<>\n]{0,2048})>/y;
const BEFORE = /\(\s{0,9}/y;
const TITLE = /\s{1,9}(?:"([^"]{0,512})"|'([^']{0,512})'|\(([^()]{0,512})\))/y;
const AFTER = /\s{0,9}\)/y;

/** Reads `(destination "title")` at a position; null if it is not one. Looks ahead a bounded distance only. */
export function readTarget(text, at) {
  const destination = readAngled(text, at) ?? readBare(text, at);
  if (!destination) return null;
  const title = matchAt(TITLE, text, destination.end);
  const close = matchAt(AFTER, text, title ? destination.end + title[0].length : destination.end);
  if (!close) return null;
  return { written: destination.written, title: title?.slice(1).find((part) => part !== undefined), end: AFTER.lastIndex };
}

function readAngled(text, at) {
  const match = matchAt(ANGLED, text, at);
  return match && { written: match[1], end: ANGLED.lastIndex };
}

function readBare(text, at) {
  if (!matchAt(BEFORE, text, at)) return null;
  const start = BEFORE.lastIndex;
  let depth = 0;
  let end = start;
  for (; end < text.length && end - start <= MAX_URL; end += 1) {
    const character = text[end];
    if (character <= " ") break;
    if (character === "\\") end += 1;
    else if (character === "(" && ++depth > MAX_PARENTHESES) return null;
    else if (character === ")" && --depth < 0) break;
  }
  return end - start > MAX_URL || depth > 0 ? null : { written: text.slice(start, end), end };
}

const BARE_URL = /https?:\/\/[^\s<>"'`*|\\[\]]{1,2048}/y;

/** Reads a URL that stands in the text by itself, without the punctuation that follows it. */
export function readBareUrl(text, at) {
  const match = matchAt(BARE_URL, text, at);
  if (!match) return null;
  const [found] = match;
  let unopened = 0;
  for (const character of found) unopened += character === ")" ? 1 : character === "(" ? -1 : 0;
  let length = found.length;
  for (; /[.,;:!?)}_~&]/.test(found[length - 1]); length -= 1) {
    if (found[length - 1] !== ")") continue;
    if (unopened <= 0) break;
    unopened -= 1;
  }
  const written = found.slice(0, length);
  const url = safeUrl(written);
  return url && { url, text: written, end: at + length };
}

/** Matches a sticky expression at a position. */
export function matchAt(expression, text, at) {
  expression.lastIndex = at;
  return expression.exec(text);
}

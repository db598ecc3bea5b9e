// Values as literals of other languages, so that any text can be pasted without changing what it says or does.

/** Characters that cannot be seen, or that reorder what is seen: controls, formats, lone surrogates, line separators. */
const INVISIBLE = /[\p{C}\p{Zl}\p{Zp}]/gu;

const hex = (number, digits) => number.toString(16).padStart(digits, "0");

/** A JSON document, which is a JavaScript literal too. */
export function json(value, indent = 0) {
  return write(value, indent, { step: 2, words: { true: "true", false: "false", null: "null" }, string: jsonString });
}

/** A JavaScript literal with its names unquoted where they may be. */
export function javascript(value, indent = 0) {
  const name = (key) => (/^[a-z_]\w*$/i.test(key) ? key : jsonString(key));
  return write(value, indent, { step: 2, words: { true: "true", false: "false", null: "null" }, string: jsonString, name, trailing: "," });
}

/** A Python literal. */
export function python(value, indent = 0) {
  return write(value, indent, { step: 4, words: { true: "True", false: "False", null: "None" }, string: pythonString, trailing: "," });
}

/** A word for a POSIX shell. */
export function shell(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

export function jsonString(text) {
  // Of characters beyond U+FFFF both halves are written.
  return JSON.stringify(text).replace(INVISIBLE, (found) => found.split("").map((unit) => `\\u${hex(unit.charCodeAt(0), 4)}`).join(""));
}

/** Python reads JSON's escapes as JSON does, but for pairs of surrogates. */
export function pythonString(text) {
  return JSON.stringify(text).replace(INVISIBLE, (found) => {
    const code = found.codePointAt(0);
    return code > 0xffff ? `\\U${hex(code, 8)}` : `\\u${hex(code, 4)}`;
  });
}

function write(value, indent, style) {
  if (typeof value === "string") return style.string(value);
  if (typeof value !== "object" || value === null) return style.words[value] ?? String(value);
  const isList = Array.isArray(value);
  const name = style.name ?? style.string;
  const entries = isList ? value : Object.entries(value).filter(([, item]) => item !== undefined);
  const [open, close] = isList ? "[]" : "{}";
  if (entries.length === 0) return open + close;
  const inner = indent + style.step;
  const lines = entries.map((entry) => {
    const text = isList ? write(entry, inner, style) : `${name(entry[0])}: ${write(entry[1], inner, style)}`;
    return " ".repeat(inner) + text;
  });
  return `${open}\n${lines.join(",\n")}${style.trailing ?? ""}\n${" ".repeat(indent)}${close}`;
}

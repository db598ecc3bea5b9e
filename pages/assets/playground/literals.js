// Values as literals of other languages, escaped so that any text can be pasted safely.

/** Characters that cannot be seen, or that reorder what is seen: controls, formats, lone surrogates, unusual spaces. */
const INVISIBLE = /(?! )[\p{C}\p{Z}]/gu;

const hex = (number, digits) => number.toString(16).padStart(digits, "0");

const JSON_STYLE = {
  step: 2,
  space: " ",
  trailing: "",
  words: { true: "true", false: "false", null: "null" },
  string: jsonString,
  name: jsonString,
};
const JAVASCRIPT_STYLE = { ...JSON_STYLE, trailing: ",", name: (key) => (/^[a-z_]\w*$/i.test(key) ? key : jsonString(key)) };
const PYTHON_STYLE = {
  step: 4,
  space: "",
  trailing: ",",
  words: { true: "True", false: "False", null: "None" },
  string: pythonString,
  name: pythonString,
};

/** A JSON document. */
export function json(value, indent = 0) {
  return write(value, indent, JSON_STYLE);
}

/** A JavaScript literal, with names unquoted where they may be. */
export function javascript(value, indent = 0) {
  return write(value, indent, JAVASCRIPT_STYLE);
}

/** A Python literal. */
export function python(value, indent = 0) {
  return write(value, indent, PYTHON_STYLE);
}

/** A quoted argument for a POSIX shell. */
export function shell(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

export function jsonString(text) {
  // Characters beyond U+FFFF are written as both surrogates.
  return JSON.stringify(text).replace(INVISIBLE, (found) => found.split("").map((unit) => `\\u${hex(unit.charCodeAt(0), 4)}`).join(""));
}

/** Python reads JSON escapes as JSON does, except for surrogate pairs. */
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
  const entries = isList ? value : Object.entries(value).filter(([, item]) => item !== undefined);
  const [open, close] = isList ? "[]" : "{}";
  if (entries.length === 0) return open + close;
  const inner = indent + style.step;
  const parts = entries.map((entry) => (isList ? write(entry, inner, style) : `${style.name(entry[0])}: ${write(entry[1], inner, style)}`));
  if (!isList && Object.keys(value).join() === "role,content") return `{${style.space}${parts.join(", ")}${style.space}}`;
  return `${open}\n${parts.map((part) => " ".repeat(inner) + part).join(",\n")}${style.trailing}\n${" ".repeat(indent)}${close}`;
}

// Comparison tab: similarity of several texts as a heat map.

import { Problem, call } from "./api.js";
import { byId, failure, figures, make, milliseconds } from "./elements.js";

const MOST_TEXTS = 32;
const WARNINGS = {
  unknown_prefix: "No prefix is known for this input type and model: the texts were sent unchanged.",
  prompt_truncated: "A text is longer than the model's context: the model read only a part of it.",
};

export function startComparison({ onUnauthorized }) {
  byId("comparison").addEventListener("submit", async (event) => {
    event.preventDefault();
    const texts = byId("texts").value.split("\n").map((line) => line.trim()).filter(Boolean);
    const button = byId("compare");
    if (button.ariaDisabled === "true") return;
    // Not `disabled`, which would remove the focus.
    button.ariaDisabled = "true";
    try {
      show(...(await compare(texts)));
    } catch (error) {
      if (error.code === "unauthorized") onUnauthorized();
      else show(failure(error instanceof Problem ? error : new Problem(String(error))));
    } finally {
      button.ariaDisabled = "false";
    }
  });
}

function show(...children) {
  const result = byId("comparison-result");
  result.replaceChildren(...children);
  result.hidden = false;
}

async function compare(texts) {
  if (texts.length < 2 || texts.length > MOST_TEXTS) throw new Problem(`Enter 2 to ${MOST_TEXTS} texts, one per line.`);
  const askedAt = performance.now();
  const body = {
    text: texts,
    model: byId("embedding-model").value || undefined,
    input_type: byId("input-type").value || undefined,
  };
  const answer = await (await call("api/ollama/embeddings", { body })).json();
  const similarities = answer.embeddings.map((one) => answer.embeddings.map((other) => dot(one, other)));
  const pairs = similarities.flatMap((row, i) => row.slice(0, i).map((value, j) => ({ value, i: j, j: i })));
  pairs.sort((a, b) => b.value - a.value);
  return [
    make("h2", {}, "Similarity"),
    make("p", {}, summary(pairs)),
    make("p", { class: "hint" }, "Cosine similarity of each pair; 1 means the same."),
    table(texts, similarities, pairs.at(-1).value),
    legend(pairs.at(-1).value),
    figures([
      ["Model", answer.model],
      ["Prefix", answer.prefix?.trim()],
      ["Dimensions", String(answer.dimension)],
      ["Tokens", answer.usage.prompt_tokens === null ? null : String(answer.usage.prompt_tokens)],
      ["Time", milliseconds(performance.now() - askedAt)],
    ]),
    ...answer.warnings.map((warning) => make("p", { class: "warning" }, WARNINGS[warning] ?? warning)),
  ];
}

/** Dot product; equals the cosine, as the vectors have unit length. */
function dot(one, other) {
  return one.reduce((sum, value, at) => sum + value * other[at], 0);
}

function summary(pairs) {
  const [closest, furthest] = [pairs[0], pairs.at(-1)];
  const words = ({ i, j, value }) => `${i + 1} and ${j + 1} (${value.toFixed(2)})`;
  return pairs.length > 1 ? `Closest: ${words(closest)}. Furthest apart: ${words(furthest)}.` : `The two texts: ${closest.value.toFixed(2)}.`;
}

function table(texts, similarities, lowest) {
  const head = make("tr", {}, make("td"), ...texts.map((_, i) => make("th", { scope: "col" }, String(i + 1))));
  const rows = similarities.map((row, i) =>
    make("tr", {}, make("th", { scope: "row" }, make("i", {}, String(i + 1)), texts[i]), ...row.map((value) => cell(value, lowest))),
  );
  const inner = make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
  return make("div", { class: "heat", role: "region", "aria-label": "Similarity of each pair", tabindex: "0" }, inner);
}

function cell(value, lowest) {
  const share = lowest < 1 ? Math.min(1, Math.max(0, (value - lowest) / (1 - lowest))) : 1;
  const shade = share > 0.76 ? "high higher" : share > 0.6 ? "high" : undefined;
  const element = make("td", { class: shade }, value.toFixed(2));
  element.style.setProperty("--heat", `${Math.round(share * 100)}%`);
  return element;
}

function legend(lowest) {
  return make("p", { class: "legend", "aria-hidden": "true" }, lowest.toFixed(2), make("span"), "1.00");
}

// Model lists of the chat and comparison tabs.

import { call } from "./api.js";
import { byId, make } from "./elements.js";

let preset = "gpt-oss";

/** The default model, as far as it is known. */
export function defaultModel() {
  return preset;
}

/** Fills both selections and keeps the selected models. */
export async function loadModels() {
  const note = byId("models-note");
  try {
    const [list, configured] = await Promise.all([
      call("api/ollama/models").then((response) => response.json()),
      configuredModels(),
    ]);
    const missing = Object.keys(configured).filter((name) => configured[name] === false);
    const embeds = (model) => model.capabilities?.includes("embedding");
    const writers = list.models.filter((model) => !embeds(model) || model.capabilities.includes("completion"));
    const embedding = Object.keys(configured).at(-1);
    fill("model", preset, writers, missing.filter((name) => name !== embedding));
    fill("embedding-model", embedding, list.models.filter((model) => !model.capabilities?.length || embeds(model)), []);
    note.textContent = list.stale ? "Ollama does not respond; this is the last known list." : "";
  } catch (problem) {
    fill("model", undefined, [], []);
    fill("embedding-model", undefined, [], []);
    note.textContent = problem.message;
    throw problem;
  }
}

async function configuredModels() {
  const response = await fetch("health", { cache: "no-store" });
  const { models } = (await response.json()).ollama;
  [preset] = Object.keys(models);
  return models;
}

function fill(id, preset, models, missing) {
  const select = byId(id);
  const chosen = select.value;
  const options = [make("option", { value: "" }, preset ? `Default (${preset})` : "Default")];
  for (const { name, size } of models) {
    options.push(make("option", { value: name }, size ? `${name} – ${(size / 1e9).toFixed(1)} GB` : name));
  }
  for (const name of missing) options.push(make("option", { value: name }, `${name} – not installed`));
  select.replaceChildren(...options);
  select.value = options.some((option) => option.value === chosen) ? chosen : "";
}

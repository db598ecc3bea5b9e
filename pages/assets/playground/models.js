// Model lists of the chat and comparison tabs.

import { call } from "./api.js";
import { byId, make } from "./elements.js";

let preset = "gpt-oss";
let embeddingPreset;
let installed = [];
let details = new Map();

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
    embeddingPreset = Object.keys(configured).at(-1);
    installed = list.models.map(({ name }) => name);
    details = new Map();
    fill("model", preset, writers, missing.filter((name) => name !== embeddingPreset));
    fill("embedding-model", embeddingPreset, list.models.filter((model) => !model.capabilities?.length || embeds(model)), []);
    note.textContent = list.stale ? "Ollama does not respond; this is the last known list." : "";
  } catch (problem) {
    fill("model", undefined, [], []);
    fill("embedding-model", undefined, [], []);
    note.textContent = problem.message;
    throw problem;
  }
}

/** Details of the selected model, or of the default model; undefined if it is not installed. */
export function chosenModel() {
  return detailsOf(byId("model").value || preset);
}

/** Details of the selected embedding model. */
export function chosenEmbeddingModel() {
  return detailsOf(byId("embedding-model").value || embeddingPreset);
}

/** Requests the details of a model once; the page works without them. */
function detailsOf(name) {
  const found = installed.find((each) => each === name || each === name?.replace(/:latest$/, ""));
  if (found === undefined) return Promise.resolve(undefined);
  if (!details.has(found)) {
    const path = found.split("/").map(encodeURIComponent).join("/");
    details.set(found, call(`api/ollama/models/${path}`).then((response) => response.json()).catch(() => undefined));
  }
  return details.get(found);
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

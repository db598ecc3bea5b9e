// Capabilities of the selected models: controls that a model does not support are hidden.

import { byId } from "./elements.js";
import { chosenEmbeddingModel, chosenModel } from "./models.js";

const WORDS = { tools: "calls tools", thinking: "thinks", vision: "sees images" };
const ALMOST_FULL = 0.8;

let lastUsage = null; // of the conversation with the chosen model
let loadedLength = null;

export function startAbilities() {
  byId("model").addEventListener("change", () => {
    loadedLength = null;
    showRoom(null);
    showAbilities();
  });
  for (const id of ["embedding-model", "input-type"]) byId(id).addEventListener("change", showPrefix);
}

/** Shows the capabilities of the selected models, once they are known. */
export async function showAbilities() {
  await Promise.all([showModel(), showPrefix()]);
}

/** Shows how much of the context the last prompt and its response used; null if there is none. */
export function showRoom(usage) {
  lastUsage = usage;
  const length = usage?.context_length ?? loadedLength;
  const used = usage?.total_tokens ?? 0;
  byId("room").hidden = !length;
  if (!length) return;
  loadedLength = length;
  const meter = byId("room-used");
  meter.max = length;
  meter.high = length * ALMOST_FULL;
  meter.value = Math.min(used, length);
  const left = Math.max(0, length - used);
  byId("room-text").textContent = `${left.toLocaleString("en")} of ${length.toLocaleString("en")} tokens are left`;
}

async function showModel() {
  const chosen = byId("model").value;
  const model = await chosenModel();
  if (byId("model").value !== chosen) return; // another model was selected meanwhile
  const can = (capability) => !model?.capabilities || model.capabilities.includes(capability);
  byId("think-field").hidden = !can("thinking");
  if (!can("thinking")) byId("think").value = "";
  byId("add-image").hidden = !model?.capabilities?.includes("vision");
  byId("model-facts").textContent = facts(model);
  loadedLength = model?.loaded_context_length ?? loadedLength;
  showRoom(lastUsage);
}

function facts(model) {
  if (!model) return "";
  const abilities = (model.capabilities ?? []).map((capability) => WORDS[capability]).filter(Boolean);
  const trained = model.context_length && `context of ${model.context_length.toLocaleString("en")} tokens`;
  return [model.parameter_size, model.quantization_level, trained, ...abilities, model.loaded ? "loaded" : undefined].filter(Boolean).join(" · ");
}

async function showPrefix() {
  const role = byId("input-type").value;
  const model = await chosenEmbeddingModel();
  if (byId("input-type").value !== role) return;
  const prefix = model?.prefixes?.[role];
  byId("prefix-note").textContent = note(role, model, prefix);
}

function note(role, model, prefix) {
  if (!role || !model) return "";
  if (prefix === undefined) return "No prefix is known for this input type and model: the texts are sent unchanged.";
  return prefix === "" ? "This model needs no prefix for it." : `Each text gets the prefix “${prefix.trim()}”.`;
}

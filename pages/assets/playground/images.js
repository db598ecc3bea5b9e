// Images for the next message, for models that see.

import { byId, make } from "./elements.js";

let chosen = [];

export function startImages() {
  byId("add-image").addEventListener("click", () => byId("image").click());
  byId("image").addEventListener("change", async ({ target }) => {
    const files = [...target.files];
    target.value = "";
    const read = await Promise.all(files.map(async (file) => ({ name: file.name, data: await dataUrl(file) })));
    chosen = [...chosen, ...read];
    show();
  });
}

/** Takes the images that were chosen; they are sent as data URLs. Nothing is taken while the model cannot see. */
export function takeImages() {
  if (byId("add-image").hidden) return [];
  const taken = chosen;
  chosen = [];
  show();
  return taken;
}

/** Puts images back that were not sent. */
export function returnImages(images) {
  chosen = [...images, ...chosen];
  show();
}

/** The names of images, as a line of a message. */
export function imageNames(images) {
  return images.length ? [make("small", {}, images.map(({ name }) => name).join(", "))] : [];
}

function show() {
  byId("add-image").textContent = chosen.length ? `Image (${chosen.length})` : "Image";
  byId("add-image").title = chosen.map(({ name }) => name).join(", ");
}

function dataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(file);
  });
}

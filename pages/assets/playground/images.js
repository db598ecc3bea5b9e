// Images for the next message, for models with vision.

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

/** Takes the selected images as data URLs; none if the model has no vision. */
export function takeImages() {
  if (byId("add-image").hidden) return [];
  const taken = chosen;
  chosen = [];
  show();
  return taken;
}

/** Restores images that were not sent. */
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

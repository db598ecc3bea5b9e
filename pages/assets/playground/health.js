// The bar: is the service well, is its Ollama a real one, how much runs and waits.

import { byId } from "./elements.js";

const SECONDS_BETWEEN = 2;
const SECONDS_BETWEEN_WHILE_ANSWERING = 0.4;

let timer = 0;
let latest = 0;
let isAnswering = false;
let look = () => {};

/** Shows the health from now on; `onHealthy` is called each time it has come back. */
export function watchHealth({ onHealthy }) {
  let last = "healthy";
  look = async () => {
    clearTimeout(timer);
    if (document.visibilityState !== "visible") return;
    latest += 1;
    const mine = latest;
    const health = await read();
    // A later look has begun: what this one saw may be from before an answer began or ended.
    if (mine !== latest) return;
    const state = health?.status ?? "degraded";
    show(health, state);
    if (state === "healthy" && last !== "healthy") onHealthy();
    last = state;
    const isBusy = isAnswering || health?.ollama?.running > 0;
    timer = setTimeout(look, (isBusy ? SECONDS_BETWEEN_WHILE_ANSWERING : SECONDS_BETWEEN) * 1000);
  };
  document.addEventListener("visibilitychange", look);
  look();
}

/** Looks at once, and more often while an answer is written here: the numbers should be true then too. */
export function setAnswering(value) {
  isAnswering = value;
  look();
}

async function read() {
  try {
    const response = await fetch("health", { cache: "no-store" });
    return await response.json();
  } catch {
    return null;
  }
}

function show(health, state) {
  const ollama = health?.ollama;
  const isSimulated = isSimulator(ollama?.version);
  byId("health").dataset.state = isSimulated && state === "healthy" ? "simulated" : state;
  byId("health-simulator").hidden = !isSimulated;
  setText("health-text", isSimulated && state === "healthy" ? "" : sentence(health));
  setText("health-ollama", ollama?.version && !isSimulated ? `Ollama ${ollama.version} · ${Math.round(ollama.latency_ms)} ms` : "");
  setText("health-queue", ollama ? `${ollama.running} running · ${ollama.queued} waiting` : "");
}

/** The built-in simulator says so in its version: `0.0.0-simulator`. */
function isSimulator(version) {
  return /-simulator\b/.test(version ?? "");
}

function sentence(health) {
  if (!health?.services) return "The service does not answer";
  if (health.status === "healthy") return "Healthy";
  const services = Object.entries(health.services);
  const down = services.filter(([, state]) => state === "down");
  if (down.length) return `${down.map(([name]) => (name === "ollama" ? "Ollama" : name)).join(", ")} is down`;
  // Registered components have words of their own, and which of the two means down is not told.
  return services.filter(([, state]) => state !== "up").map(([name, state]) => `${name} is ${state.replaceAll("_", " ")}`).join(", ");
}

/** Sets a text only if it changed, so that screen readers do not repeat it. */
function setText(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

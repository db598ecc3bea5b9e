// Health bar: state of the service, whether Ollama is the simulator, running and queued requests.

import { byId } from "./elements.js";

const SECONDS_BETWEEN = 2;
const SECONDS_BETWEEN_WHILE_ANSWERING = 0.4;

let timer = 0;
let latest = 0;
let isAnswering = false;
let look = () => {};

/** Polls and shows the health; `onHealthy` is called whenever the service becomes healthy. */
export function watchHealth({ onHealthy }) {
  let last = "healthy";
  look = async () => {
    clearTimeout(timer);
    if (document.visibilityState !== "visible") return;
    latest += 1;
    const mine = latest;
    const health = await read();
    // A later poll has started: this result may predate the start or end of a response.
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

/** Polls immediately, and more often during a response, so that the numbers stay current. */
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

/** Whether Ollama is the built-in simulator, whose version is `0.0.0-simulator`. */
function isSimulator(version) {
  return /-simulator\b/.test(version ?? "");
}

function sentence(health) {
  if (!health?.services) return "The service does not respond";
  if (health.status === "healthy") return "Healthy";
  const services = Object.entries(health.services);
  const down = services.filter(([, state]) => state === "down");
  if (down.length) return `${down.map(([name]) => (name === "ollama" ? "Ollama" : name)).join(", ")} is down`;
  // Registered components have their own words, and the response does not tell which of them mean down.
  const others = services.filter(([, state]) => state !== "up");
  return others.map(([name, state]) => `${name} is ${state.replaceAll("_", " ")}`).join(", ");
}

/** Sets a text only if it changed, so that screen readers do not repeat it. */
function setText(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

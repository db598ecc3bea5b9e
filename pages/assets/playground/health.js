// The bar: is the service well, and how much waits.

import { byId } from "./elements.js";

const SECONDS_BETWEEN = 2;

let timer = 0;

/** Shows the health from now on; `onHealthy` is called each time it has come back. */
export function watchHealth({ onHealthy }) {
  let last = "healthy";
  const look = async () => {
    clearTimeout(timer);
    if (document.visibilityState === "visible") {
      const health = await read();
      const state = health?.status ?? "degraded";
      show(health, state);
      if (state === "healthy" && last !== "healthy") onHealthy();
      last = state;
      timer = setTimeout(look, SECONDS_BETWEEN * 1000);
    }
  };
  document.addEventListener("visibilitychange", look);
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
  byId("health").dataset.state = state;
  setText("health-text", sentence(health));
  const ollama = health?.ollama;
  setText("health-ollama", ollama?.version ? `Ollama ${ollama.version} · ${Math.round(ollama.latency_ms)} ms` : "");
  setText("health-queue", ollama ? `${ollama.running} running · ${ollama.queued} waiting` : "");
}

function sentence(health) {
  if (!health) return "The service does not answer";
  const down = Object.entries(health.services).filter(([, state]) => state === "down");
  return down.length ? `${down.map(([name]) => (name === "ollama" ? "Ollama" : name)).join(", ")} is down` : "Healthy";
}

/** Sets a text only if it changed, so that screen readers do not repeat it. */
function setText(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

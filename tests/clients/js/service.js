// Where the service is, and what is asked of it; from `tests/clients/test_node.py`.
import { setTimeout as sleep } from "node:timers/promises";

export const { KEY, URL, MODEL, UNKNOWN_MODEL, EMBEDDING_MODEL, QUESTION } = process.env;
export const SCHEMA = JSON.parse(process.env.SCHEMA);
export const TOOL = JSON.parse(process.env.TOOL);

// Wait until no request runs in Ollama, while this process and its connections live on.
export async function nothingRuns() {
  const deadline = Date.now() + 2000;
  for (;;) {
    const { ollama } = await (await fetch(new globalThis.URL("/health", URL))).json();
    if (ollama.running === 0) return;
    if (Date.now() > deadline) throw new Error("the model was not stopped");
    await sleep(20);
  }
}

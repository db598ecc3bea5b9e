// Requests to the service: API key, problem documents and streams.

const KEY = "ollama-service-key";

/** An error reported by the service. */
export class Problem extends Error {
  constructor(detail, { code = "", requestId = "", status = 0 } = {}) {
    super(detail);
    this.code = code;
    this.requestId = requestId;
    this.status = status;
  }
}

export function keepKey(key) {
  sessionStorage.setItem(KEY, key);
}

export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

/** Sends a request and returns the response; an error status is thrown as a Problem. */
export async function call(path, { body, accept = "application/json", signal } = {}) {
  const headers = { Accept: accept };
  const key = sessionStorage.getItem(KEY);
  if (key) headers["X-API-Key"] = key;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method: body === undefined ? "GET" : "POST",
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The service cannot be reached.");
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

async function problemOf(response) {
  const status = response.status;
  try {
    const { detail, code, request_id: requestId } = await response.json();
    return new Problem(detail, { code, requestId, status });
  } catch {
    return new Problem(`The service responded with status ${status}.`, { status });
  }
}

/** Yields the events of a Server-Sent Events response as they arrive. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const frames = (rest + value).split("\n\n");
      rest = frames.pop();
      for (const frame of frames) {
        const data = frame.split("\n").filter((line) => line.startsWith("data:"));
        if (data.length) yield JSON.parse(data.map((line) => line.slice(5)).join("\n"));
      }
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The connection was lost before the response was complete.");
  } finally {
    reader.cancel().catch(() => {});
  }
}

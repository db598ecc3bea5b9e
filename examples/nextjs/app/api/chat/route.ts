// app/api/chat/route.ts
const SERVICE_URL = process.env.OLLAMA_SERVICE_URL ?? "http://127.0.0.1:8000";
const SERVICE_KEY = process.env.OLLAMA_SERVICE_KEY;
const FORWARDED_HEADERS = ["Content-Type", "Retry-After", "X-Model", "X-Model-Fallback", "X-Request-ID"];

function problem(status: number, code: string, detail: string): Response {
  const headers = { "Content-Type": "application/problem+json" };
  return Response.json({ success: false, status, code, detail, retryable: false }, { status, headers });
}

export async function POST(request: Request): Promise<Response> {
  // Check the user's permissions here: the key below belongs to the application.
  const body: unknown = await request.json().catch(() => null);
  if (typeof body !== "object" || body === null) {
    return problem(422, "invalid_request", "The body must be a JSON object.");
  }
  try {
    const response = await fetch(`${SERVICE_URL}/api/ollama/chat`, {
      method: "POST",
      headers: {
        Accept: "text/event-stream",
        "Content-Type": "application/json",
        ...(SERVICE_KEY && { Authorization: `Bearer ${SERVICE_KEY}` }),
      },
      body: JSON.stringify({ ...body, stream: true }),
      signal: request.signal, // stops the generation when the client disconnects
    });
    const headers = new Headers({ "Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no" });
    for (const name of FORWARDED_HEADERS) {
      const value = response.headers.get(name);
      if (value !== null) headers.set(name, value);
    }
    return new Response(response.body, { status: response.status, headers });
  } catch {
    if (request.signal.aborted) return new Response(null, { status: 499 });
    return problem(502, "service_unreachable", "The language model service cannot be reached.");
  }
}

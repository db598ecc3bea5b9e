import { SERVICE_KEY, SERVICE_URL, UNREACHABLE } from "@/lib/service";

/** Pass on the service's list of installed models. */
export async function GET(request: Request): Promise<Response> {
  try {
    const response = await fetch(`${SERVICE_URL}/api/ollama/models`, {
      headers: SERVICE_KEY ? { Authorization: `Bearer ${SERVICE_KEY}` } : {},
      signal: request.signal,
    });
    const headers = { "Content-Type": response.headers.get("Content-Type") ?? "application/json" };
    return new Response(response.body, { status: response.status, headers });
  } catch {
    if (request.signal.aborted) return new Response(null, { status: 499 });
    return Response.json({ success: false, status: 502, detail: UNREACHABLE }, { status: 502 });
  }
}

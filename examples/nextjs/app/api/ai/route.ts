import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, convertToModelMessages, safeValidateUIMessages, streamText } from "ai";

import type { AIMessage } from "@/lib/ai-message";
import { SERVICE_KEY, SERVICE_URL, UNREACHABLE } from "@/lib/service";

const service = createOpenAICompatible({
  name: "ollama-service",
  baseURL: `${SERVICE_URL}/v1`,
  apiKey: SERVICE_KEY,
});

export async function POST(request: Request): Promise<Response> {
  const body: { messages?: unknown; model?: unknown } | null = await request.json().catch(() => null);
  const checked = await safeValidateUIMessages<AIMessage>({ messages: body?.messages });
  if (!checked.success || typeof body?.model !== "string") {
    // useChat uses the text of a failed response as the error message.
    return new Response("The body must be a JSON object with messages and a model.", { status: 422 });
  }
  const result = streamText({
    model: service(body.model),
    messages: await convertToModelMessages(checked.data),
    abortSignal: request.signal,
    maxRetries: 0, // the service already retries what is safe to retry
    onError: ({ error }) => console.error("chat failed: %s", describe(error)),
  });
  return result.toUIMessageStreamResponse<AIMessage>({
    messageMetadata: ({ part }) => {
      if (part.type !== "finish-step") return undefined;
      const { headers, modelId } = part.response;
      return { model: headers?.["x-model"] ?? modelId, fallback: headers?.["x-model-fallback"] === "true" };
    },
    onError: describe,
  });
}

/** The service's error message, if there is one. */
function describe(error: unknown): string {
  if (APICallError.isInstance(error)) return error.statusCode === undefined ? UNREACHABLE : error.message;
  if (error instanceof Error) return "The response was interrupted.";
  // An error event of the stream: {"message", "type", "code"}.
  const isEvent = typeof error === "object" && error !== null && "message" in error;
  return isEvent ? String(error.message) : "The response was interrupted.";
}

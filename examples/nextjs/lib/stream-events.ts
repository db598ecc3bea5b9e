import { failure } from "@/lib/errors";

/** The stream events that this app uses; the service's openapi.json has all of them. */
export type StreamEvent =
  | { type: "start"; model: string; requested_model: string; fallback: boolean; request_id: string }
  | { type: "thinking" | "token"; text: string }
  | { type: "tool_call" }
  | { type: "done"; done_reason: string | null; warnings: string[] }
  | { type: "error"; code: string; detail: string; retryable: boolean };

/**
 * Read the Server-Sent Events of a response.
 *
 * @throws Error with a message for the user, if the response failed or ended before its last event.
 */
export async function* readEvents(response: Response): AsyncGenerator<StreamEvent> {
  if (!response.ok || response.body === null) throw new Error(await failure(response));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("The response was interrupted.");
    buffer += value;
    const frames = buffer.split("\n\n");
    buffer = frames.pop() ?? "";
    for (const frame of frames) {
      const data = frame.split("\n").find((line) => line.startsWith("data: "));
      if (data === undefined) continue; // a heartbeat comment
      const event = JSON.parse(data.slice("data: ".length)) as StreamEvent;
      yield event;
      if (event.type === "done" || event.type === "error") return;
    }
  }
}

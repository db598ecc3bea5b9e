import { useCallback, useEffect, useRef, useState } from "react";

import type { TurnProps } from "@/components/turn";
import { sentence } from "@/lib/errors";
import { readEvents } from "@/lib/stream-events";

/** A conversation by the typed API: its turns, whether an answer is being written, and the last failure's sentence. */
export function useTypedChat() {
  const [turns, setTurns] = useState<TurnProps[]>([]);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();
  const controller = useRef<AbortController>(null);

  const stop = useCallback(() => controller.current?.abort(), []);
  useEffect(() => stop, [stop]); // leaving the page stops the model

  async function send(model: string, content: string) {
    const { signal } = (controller.current = new AbortController());
    const answer: TurnProps = { role: "assistant", text: "" };
    const before: TurnProps[] = [...turns, { role: "user", text: content }];
    const show = (change: Partial<TurnProps>) => setTurns([...before, { ...Object.assign(answer, change) }]);
    const messages = before.filter((turn) => turn.text !== "").map(({ role, text }) => ({ role, content: text }));
    setTurns(before);
    setBusy(true);
    setError(undefined);
    try {
      const response = await fetch("/api/chat", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ model: model || undefined, messages }),
        signal,
      });
      for await (const event of readEvents(response)) {
        if (event.type === "start") show({ model: event.model, fallback: event.fallback });
        if (event.type === "thinking") show({ reasoning: (answer.reasoning ?? "") + event.text });
        if (event.type === "token") show({ text: answer.text + event.text });
        if (event.type === "error") throw new Error(event.detail);
        if (event.type === "done" && event.done_reason === "length") show({ note: "cut off at max_tokens" });
      }
    } catch (reason) {
      if (signal.aborted) show({ note: "stopped" });
      else setError(sentence(reason));
    } finally {
      setBusy(false);
    }
  }

  return { turns, busy, error, send, stop };
}

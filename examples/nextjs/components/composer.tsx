"use client";

import { useRef, useState, type FormEvent, type KeyboardEvent } from "react";

interface ComposerProps {
  busy: boolean;
  error: string | undefined;
  onSend: (text: string) => void;
  onStop: () => void;
}

/** The message field, under the last failure: Enter sends, Shift+Enter breaks the line, Escape stops. */
export function Composer({ busy, error, onSend, onStop }: ComposerProps) {
  const [text, setText] = useState("");
  const field = useRef<HTMLTextAreaElement>(null);

  function send(event?: FormEvent) {
    event?.preventDefault();
    const message = text.trim();
    if (busy || message === "") return;
    onSend(message);
    setText("");
    field.current?.focus();
  }

  function stop() {
    onStop();
    field.current?.focus();
  }

  function onKeyDown(event: KeyboardEvent) {
    if (event.key === "Escape" && busy) stop();
    if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
      event.preventDefault();
      send();
    }
  }

  return (
    <form className="composer" onSubmit={send} onKeyDown={onKeyDown}>
      {error && <p role="alert">{error}</p>}
      <label htmlFor="message">Your message</label>
      <textarea id="message" ref={field} rows={2} value={text} onChange={(event) => setText(event.target.value)} />
      {busy ? (
        <button type="button" onClick={stop}>
          Stop
        </button>
      ) : (
        <button type="submit">Send</button>
      )}
    </form>
  );
}

"use client";

import { useState } from "react";

import { Composer } from "@/components/composer";
import { ModelSelect } from "@/components/model-select";
import { Turn } from "@/components/turn";
import { useTypedChat } from "@/lib/use-typed-chat";

export default function TypedChatPage() {
  const [model, setModel] = useState("");
  const { turns, busy, error, send, stop } = useTypedChat();

  return (
    <>
      <h1>Typed API</h1>
      <ModelSelect value={model} onChange={setModel} />
      <section className="conversation" role="log" aria-label="Conversation" aria-busy={busy}>
        {turns.map((turn, index) => (
          <Turn key={index} {...turn} />
        ))}
      </section>
      {error && <p role="alert">{error}</p>}
      <Composer busy={busy} onSend={(text) => void send(model, text)} onStop={stop} />
    </>
  );
}

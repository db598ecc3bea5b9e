"use client";

import { useState } from "react";

import { Composer } from "@/components/composer";
import { Conversation } from "@/components/conversation";
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
      <Conversation busy={busy}>
        {turns.map((turn, index) => (
          <Turn key={index} {...turn} />
        ))}
      </Conversation>
      <Composer busy={busy} error={error} onSend={(text) => void send(model, text)} onStop={stop} />
    </>
  );
}

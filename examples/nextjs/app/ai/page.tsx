"use client";

import { useChat } from "@ai-sdk/react";
import { DefaultChatTransport } from "ai";
import { useState } from "react";

import { Composer } from "@/components/composer";
import { Conversation } from "@/components/conversation";
import { ModelSelect } from "@/components/model-select";
import { Turn } from "@/components/turn";
import type { AIMessage } from "@/lib/ai-message";
import { sentence } from "@/lib/errors";

const transport = new DefaultChatTransport<AIMessage>({ api: "/api/ai" });

export default function AIChatPage() {
  const [model, setModel] = useState("");
  const { messages, sendMessage, status, stop, error } = useChat<AIMessage>({ transport });
  const busy = status === "submitted" || status === "streaming";

  return (
    <>
      <h1>AI SDK</h1>
      <ModelSelect value={model} onChange={setModel} />
      <Conversation busy={busy}>
        {messages.map((message) => (
          <Turn
            key={message.id}
            role={message.role === "user" ? "user" : "assistant"}
            text={joined(message, "text")}
            reasoning={joined(message, "reasoning")}
            {...message.metadata}
          />
        ))}
      </Conversation>
      <Composer
        busy={busy}
        error={error && sentence(error)}
        onSend={(text) => void sendMessage({ text }, { body: { model } })}
        onStop={() => void stop()}
      />
    </>
  );
}

function joined(message: AIMessage, type: "text" | "reasoning"): string {
  return message.parts.map((part) => (part.type === type ? part.text : "")).join("");
}

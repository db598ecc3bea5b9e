// What a backend in TypeScript does with the types that openapi-typescript makes of openapi.json.
import createClient from "openapi-fetch";

import type { components, paths } from "./build/api";

type Message = components["schemas"]["Message"];
type StreamEvent = components["schemas"]["StreamEvent"];
type Tool = components["schemas"]["Tool"];

const client = createClient<paths>({ baseUrl: process.env.SERVICE_URL });
const weather: Tool = {
  type: "function",
  function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
};

async function tellsAWholeAnswer(): Promise<string> {
  const { data, error } = await client.POST("/api/ollama/generate", { body: { prompt: "Hi" } });
  if (error) throw new Error(error.detail);
  return data.response;
}

async function carriesAConversationOn(): Promise<[string[], string]> {
  const messages: Message[] = [{ role: "user", content: "Ask get_weather about Paris." }];
  const { data: answer, error } = await client.POST("/api/ollama/chat", {
    body: { model: "llama3.1", messages, tools: [weather] },
  });
  if (error) throw new Error(error.detail);
  messages.push(answer.message);
  const called: string[] = [];
  for (const call of answer.message.tool_calls ?? []) {
    called.push(call.function.name);
    const city: unknown = call.function.arguments["city"];
    messages.push({ role: "tool", tool_name: call.function.name, content: `Sunny in ${city}.` });
  }
  const { data: last } = await client.POST("/api/ollama/chat", { body: { model: "llama3.1", messages } });
  return [called, last?.response ?? ""];
}

async function readsAStream(): Promise<StreamEvent["type"][]> {
  const messages: Message[] = [{ role: "user", content: "Hi" }];
  const { data, error } = await client.POST("/api/ollama/chat", {
    body: { messages, stream: true },
    headers: { Accept: "application/x-ndjson" },
    parseAs: "stream",
  });
  if (error || data === null) throw new Error(error?.detail);
  const kinds: StreamEvent["type"][] = [];
  for (const line of (await new Response(data).text()).trimEnd().split("\n")) {
    const event = JSON.parse(line) as StreamEvent;
    kinds.push(event.type);
    // Each kind of event has members of its own.
    if (event.type === "start") event.request_id.at(0);
    if (event.type === "token") event.text.trim();
    if (event.type === "tool_call") event.tool_call.function.name.trim();
    if (event.type === "done") event.usage.completion_tokens?.toFixed();
  }
  return kinds;
}

async function toldWhatIsMissing(): Promise<[string, string[]]> {
  const { error } = await client.POST("/api/ollama/generate", {
    body: { prompt: "Hi", model: "mistral", fallback: false },
  });
  if (!error) throw new Error("an answer of a model that is not installed");
  return [error.code, error.available ?? []];
}

const { data: list } = await client.GET("/api/ollama/models");
const { data: vector } = await client.POST("/api/ollama/embeddings", { body: { text: "waiver wire" } });
console.log(
  JSON.stringify({
    text: await tellsAWholeAnswer(),
    conversation: await carriesAConversationOn(),
    stream: await readsAStream(),
    missing: await toldWhatIsMissing(),
    models: list?.models.map((model) => model.name),
    dimension: vector?.dimension,
  }),
);

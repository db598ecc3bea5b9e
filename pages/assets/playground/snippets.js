// Converts a request to a program in several languages and libraries.

import { javascript, json, python, pythonString, shell } from "./literals.js";

/** Longer bodies exceed the size of a command-line argument (128 KiB on Linux). */
const MAX_ARGUMENT = 30_000;

export const SNIPPETS = [
  { id: "curl", name: "curl", write: curl },
  { id: "fetch", name: "TypeScript, fetch", write: typescriptFetch },
  { id: "ai-sdk", name: "TypeScript, AI SDK", write: aiSdk },
  { id: "openai", name: "Python, openai", write: pythonOpenai },
  { id: "in-process", name: "Python, in process", write: pythonInProcess },
];

/** The body of POST /api/ollama/chat. */
function chatBody({ messages, settings }) {
  const { temperature, max_tokens, think, fallback, model } = settings;
  return { model, messages, temperature, max_tokens, think, fallback: fallback ? undefined : false, stream: true };
}

function curl(request) {
  const body = json(chatBody(request), 2);
  const isShort = body.length <= MAX_ARGUMENT;
  const [data, input] = isShort ? [`--data ${shell(body)}`, ""] : ["--data-binary @-", ` <<'JSON'\n${body}\nJSON`];
  const lines = [
    `curl --no-buffer ${shell(`${request.base}/api/ollama/chat`)}`,
    "--header 'Content-Type: application/json'",
    "--header 'Accept: text/event-stream'",
    ...(request.needsKey ? ['--header "X-API-Key: $API_KEY"'] : []),
    data,
  ];
  return `${lines.join(" \\\n  ")}${input}\n`;
}

function typescriptFetch(request) {
  const headers = lines(4, [
    '"Content-Type": "application/json"',
    'Accept: "text/event-stream"',
    request.needsKey ? '"X-API-Key": process.env.API_KEY ?? ""' : undefined,
  ]);
  return `const response = await fetch(${json(`${request.base}/api/ollama/chat`)}, {
  method: "POST",
  headers: {
${headers}  },
  body: JSON.stringify(${javascript(chatBody(request), 2)}),
});
if (!response.ok || !response.body) {
  throw new Error(\`\${response.status}: \${await response.text()}\`);
}

const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
let rest = "";
let isComplete = false;
for (;;) {
  const { done, value } = await reader.read();
  if (done) break;
  const frames = (rest + value).split("\\n\\n");
  rest = frames.pop() ?? "";
  for (const frame of frames) {
    const data = frame.split("\\n").find((line) => line.startsWith("data:"));
    if (!data) continue; // a heartbeat
    const event = JSON.parse(data.slice("data:".length));
    if (event.type === "token") process.stdout.write(event.text);
    if (event.type === "error") throw new Error(\`\${event.code}: \${event.detail}\`);
    if (event.type === "done") isComplete = true;
  }
}
if (!isComplete) throw new Error("The response was interrupted.");
`;
}

/** OpenAI's `reasoning_effort` for a `think` value. */
function reasoningEffort(think) {
  return { true: "medium", false: "none" }[think] ?? think;
}

/** Joins arguments to lines; undefined ones are omitted. */
function lines(indent, entries) {
  return entries.filter((entry) => entry !== undefined).map((entry) => `${" ".repeat(indent)}${entry},\n`).join("");
}

function aiSdk({ base, needsKey, messages, settings }) {
  const { temperature, max_tokens: maxTokens, think, fallback, model } = settings;
  const system = messages.find(({ role }) => role === "system");
  const others = messages.filter((message) => message !== system);
  const extra = { reasoningEffort: reasoningEffort(think), fallback: fallback ? undefined : false };
  const provider = lines(2, [
    'name: "ollama"',
    `baseURL: ${json(`${base}/v1`)}`,
    needsKey ? "apiKey: process.env.API_KEY" : undefined,
  ]);
  const call = lines(2, [
    `model: ollama(${json(model)})`,
    system && `system: ${json(system.content)}`,
    `messages: ${javascript(others, 2)}`,
    temperature === undefined ? undefined : `temperature: ${temperature}`,
    maxTokens === undefined ? undefined : `maxOutputTokens: ${maxTokens}`,
    think === undefined && fallback ? undefined : `providerOptions: ${javascript({ ollama: extra }, 2)}`,
  ]);
  return `// npm install ai @ai-sdk/openai-compatible
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { streamText } from "ai";

const ollama = createOpenAICompatible({
${provider}});

const result = streamText({
${call}});
for await (const text of result.textStream) process.stdout.write(text);
`;
}

function pythonOpenai({ base, needsKey, messages, settings }) {
  const { temperature, max_tokens: maxTokens, think, fallback, model } = settings;
  const call = lines(4, [
    `model=${pythonString(model)}`,
    `messages=${python(messages, 4)}`,
    temperature === undefined ? undefined : `temperature=${temperature}`,
    maxTokens === undefined ? undefined : `max_tokens=${maxTokens}`,
    think === undefined ? undefined : `reasoning_effort=${pythonString(reasoningEffort(think))}`,
    fallback ? undefined : 'extra_body={"fallback": False}',
    "stream=True",
  ]);
  const key = needsKey ? 'os.environ["API_KEY"]' : '"unused"';
  return `# pip install openai
${needsKey ? "import os\n\n" : ""}from openai import OpenAI

client = OpenAI(base_url=${pythonString(`${base}/v1`)}, api_key=${key})
stream = client.chat.completions.create(
${call})
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
`;
}

/** `generate` for a single prompt, `chat` for a conversation; unsupported settings are listed in a comment. */
function pythonInProcess({ messages, settings }) {
  const { temperature, max_tokens: maxTokens, think, fallback, model } = settings;
  const system = messages[0].role === "system" ? messages[0].content : undefined;
  const isPrompt = messages.length === (system === undefined ? 1 : 2);
  const missing = Object.entries({ max_tokens: isPrompt ? undefined : maxTokens, think, fallback: fallback ? undefined : false })
    .filter(([, value]) => value !== undefined)
    .map(([name]) => name);
  const call = lines(12, [
    `model=${pythonString(model)}`,
    isPrompt ? `prompt=${pythonString(messages.at(-1).content)}` : `messages=${python(messages, 12)}`,
    isPrompt && system !== undefined ? `system=${pythonString(system)}` : undefined,
    temperature === undefined ? undefined : `temperature=${temperature}`,
    isPrompt && maxTokens !== undefined ? `max_tokens=${maxTokens}` : undefined,
    "stream=True",
  ]);
  const name = isPrompt ? "generate" : "chat";
  const note = missing.length ? `    # ${name}() does not take ${missing.join(", ")}: the defaults of the service apply.\n` : "";
  return `import asyncio
from contextlib import aclosing

from services.ollama_service import ollama_service


async def main() -> None:
${note}    try:
        answer = await ollama_service.${name}(
${call}        )
        async with aclosing(answer):
            async for text in answer:
                print(text, end="", flush=True)
    finally:
        await ollama_service.disconnect()


asyncio.run(main())
`;
}

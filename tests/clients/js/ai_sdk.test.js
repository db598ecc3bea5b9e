// The AI SDK with its openai-compatible provider, as a Next.js route handler uses it.
import assert from "node:assert/strict";
import test from "node:test";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateObject, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";

import { EMBEDDING_MODEL, KEY, MODEL, QUESTION, SCHEMA, TOOL, UNKNOWN_MODEL, URL, nothingRuns } from "./service.js";

const settings = { name: "ollama", baseURL: URL, apiKey: KEY, includeUsage: true, supportsStructuredOutputs: true };
const provider = createOpenAICompatible(settings);
const strict = createOpenAICompatible({ ...settings, headers: { "X-Fallback": "false" } });
const model = provider(MODEL);
const prompt = QUESTION;
const quietly = { onError: () => {} };

test("chat", async () => {
  const answer = await generateText({ model, prompt });
  assert.ok(answer.text);
  assert.equal(answer.finishReason, "stop");
  assert.ok(answer.usage.totalTokens > 0);
});

test("stream", async () => {
  const whole = await generateText({ model, prompt });
  const result = streamText({ model, prompt });
  let text = "";
  for await (const piece of result.textStream) text += piece;
  assert.equal(text, whole.text);
  assert.ok((await result.usage).totalTokens > 0);
});

test("reasoning", async () => {
  const result = streamText({ model: provider("gpt-oss"), prompt });
  assert.ok(await result.text);
  assert.ok((await result.reasoningText).startsWith("[simulated thinking]"));
});

test("tools", async () => {
  let asked;
  const score = tool({
    description: TOOL.function.description,
    inputSchema: jsonSchema(TOOL.function.parameters),
    execute: async (input) => ((asked = input), "18.5"),
  });
  const result = streamText({ model, prompt, tools: { score }, stopWhen: stepCountIs(2) });
  assert.ok(await result.text);
  assert.equal(typeof asked.week, "number");
  const steps = await result.steps;
  assert.deepEqual(steps.map((step) => step.finishReason), ["tool-calls", "stop"]);
});

test("json schema", async () => {
  const { object } = await generateObject({ model, prompt, schema: jsonSchema(SCHEMA) });
  assert.deepEqual(Object.keys(object).sort(), ["player", "points"]);
});

test("embeddings", async () => {
  const { embeddings } = await embedMany({ model: provider.embeddingModel(EMBEDDING_MODEL), values: ["one", "two"] });
  assert.equal(embeddings.length, 2);
  assert.equal(embeddings[0].length, embeddings[1].length);
});

test("unknown model", async () => {
  const answer = await generateText({ model: provider(UNKNOWN_MODEL), prompt });
  assert.equal(answer.response.modelId, "gpt-oss");
  const refused = generateText({ model: strict(UNKNOWN_MODEL), prompt });
  await assert.rejects(refused, (error) => APICallError.isInstance(error) && error.statusCode === 404);
});

test("failure in midstream", async () => {
  const result = streamText({ model, prompt, ...quietly });
  const kinds = [];
  for await (const part of result.fullStream) kinds.push(part.type);
  assert.ok(kinds.includes("text-delta"));
  assert.ok(kinds.includes("error"));
});

test("key missing", async () => {
  const stranger = createOpenAICompatible({ ...settings, apiKey: "wrong" });
  const refused = generateText({ model: stranger(MODEL), prompt });
  await assert.rejects(refused, (error) => APICallError.isInstance(error) && error.statusCode === 401);
});

test("leaving", async () => {
  const controller = new AbortController();
  const result = streamText({ model, prompt, abortSignal: controller.signal, ...quietly });
  for await (const _ of result.textStream) {
    controller.abort();
    break;
  }
  await nothingRuns();
});

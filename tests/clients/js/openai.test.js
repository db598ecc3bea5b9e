// The `openai` package of Node. Python starts the service, arms the simulator, and runs each test by its name.
import assert from "node:assert/strict";
import test from "node:test";

import OpenAI from "openai";

import { EMBEDDING_MODEL, KEY, MODEL, QUESTION, SCHEMA, TOOL, UNKNOWN_MODEL, URL, nothingRuns } from "./service.js";

const client = new OpenAI({ baseURL: URL, apiKey: KEY });
const messages = [{ role: "user", content: QUESTION }];

test("models", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.ok(names.includes(MODEL));
  assert.equal((await client.models.retrieve(`${MODEL}:latest`)).id, MODEL);
});

test("chat", async () => {
  const answer = await client.chat.completions.create({ model: MODEL, messages });
  assert.ok(answer.choices[0].message.content);
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.ok(answer.usage.total_tokens > 0);
});

test("stream", async () => {
  const whole = await client.chat.completions.create({ model: MODEL, messages });
  const stream = client.chat.completions.stream({ model: MODEL, messages, stream_options: { include_usage: true } });
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
  assert.equal(text, whole.choices[0].message.content);
  assert.ok((await stream.totalUsage()).total_tokens > 0);
});

test("tools", async () => {
  const asked = { model: MODEL, tools: [TOOL], tool_choice: "auto" };
  const stream = client.chat.completions.stream({ ...asked, messages });
  const { choices } = await stream.finalChatCompletion();
  assert.equal(choices[0].finish_reason, "tool_calls");
  const [call] = choices[0].message.tool_calls;
  assert.equal(typeof JSON.parse(call.function.arguments).week, "number");
  const result = { role: "tool", tool_call_id: call.id, content: "18.5" };
  const last = await client.chat.completions.create({ ...asked, messages: [...messages, choices[0].message, result] });
  assert.ok(last.choices[0].message.content);
});

test("json schema", async () => {
  const response_format = { type: "json_schema", json_schema: { name: "points", strict: true, schema: SCHEMA } };
  const answer = await client.chat.completions.create({ model: MODEL, messages, response_format });
  assert.deepEqual(Object.keys(JSON.parse(answer.choices[0].message.content)).sort(), ["player", "points"]);
});

test("embeddings", async () => {
  const input = ["one", "two"];
  const packed = await client.embeddings.create({ model: EMBEDDING_MODEL, input });
  const plain = await client.embeddings.create({ model: EMBEDDING_MODEL, input, encoding_format: "float" });
  assert.equal(packed.data.length, 2);
  packed.data[1].embedding.forEach((value, i) => assert.ok(Math.abs(value - plain.data[1].embedding[i]) < 1e-6));
});

test("unknown model", async () => {
  const answer = await client.chat.completions.create({ model: UNKNOWN_MODEL, messages });
  assert.equal(answer.model, "gpt-oss");
  const strict = client.chat.completions.create({ model: UNKNOWN_MODEL, messages, fallback: false });
  await assert.rejects(strict, (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found");
});

test("failure in midstream", async () => {
  const stream = await client.chat.completions.create({ model: MODEL, messages, stream: true });
  let chunks = 0;
  const read = async () => {
    for await (const _ of stream) chunks += 1;
  };
  await assert.rejects(read, (error) => error instanceof OpenAI.APIError && error.code === "ollama_error");
  assert.ok(chunks > 0);
});

test("key missing", async () => {
  const stranger = new OpenAI({ baseURL: URL, apiKey: "wrong" });
  const call = stranger.chat.completions.create({ model: MODEL, messages });
  await assert.rejects(call, (error) => error instanceof OpenAI.AuthenticationError && error.code === "unauthorized");
});

test("not tried again", async () => {
  const call = client.chat.completions.create({ model: MODEL, messages });
  await assert.rejects(call, OpenAI.InternalServerError);
});

test("leaving", async () => {
  const stream = await client.chat.completions.create({ model: MODEL, messages, stream: true });
  for await (const chunk of stream) if (chunk.choices[0].delta.content) break;
  await nothingRuns();
});

// The `ollama` package of Node; run by test_ollama_node.py, one test a process.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Ollama } from "ollama";

const { URL: host, KEY } = process.env;
const headers = { Authorization: `Bearer ${KEY}` };
const ollama = new Ollama({ host, headers });
const model = "llama3.1";
const messages = [{ role: "user", content: "Who should start this week? Ask injury_status." }];
const parameters = { type: "object", properties: { player: { type: "string" } }, required: ["player"] };
const tools = [{ type: "function", function: { name: "injury_status", description: "Look it up.", parameters } }];

async function collect(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

test("list, show, ps, version", async () => {
  const names = (await ollama.list()).models.map((each) => each.model);
  assert.ok(names.includes("llama3.1:latest"));
  assert.ok((await ollama.show({ model })).capabilities.includes("completion"));
  assert.deepEqual((await ollama.ps()).models, []);
  assert.ok((await ollama.version()).version);
});

test("chat, whole and streamed", async () => {
  const whole = await ollama.chat({ model, messages, options: { seed: 7 } });
  const parts = await collect(await ollama.chat({ model, messages, stream: true, options: { seed: 7 } }));
  assert.equal(parts.map((part) => part.message.content).join(""), whole.message.content);
  assert.equal(parts.at(-1).done, true);
});

test("tools there and back", async () => {
  const { message } = await ollama.chat({ model, messages, tools });
  assert.equal(message.tool_calls[0].function.name, "injury_status");
  const result = { role: "tool", tool_name: "injury_status", content: "fit" };
  assert.ok((await ollama.chat({ model, messages: [...messages, message, result], tools })).message.content);
});

test("a schema", async () => {
  const { message } = await ollama.chat({ model, messages, format: parameters });
  assert.deepEqual(Object.keys(JSON.parse(message.content)), ["player"]);
});

test("embed", async () => {
  const { embeddings } = await ollama.embed({ model: "nomic-embed-text", input: ["a", "b"] });
  assert.deepEqual(embeddings.map((vector) => vector.length), [768, 768]);
});

test("an unknown model", async () => {
  await assert.rejects(ollama.chat({ model: "llama9", messages }), (error) => {
    assert.equal(error.status_code, 404);
    return /not found/.test(error.message);
  });
});

test("an error in midstream", async () => {
  await assert.rejects(async () => collect(await ollama.chat({ model, messages, stream: true })), /it broke/);
});

test("a cut in midstream", async () => {
  await assert.rejects(async () => collect(await ollama.chat({ model, messages, stream: true })), /terminated/);
});

test("without a key", async () => {
  const stranger = new Ollama({ host });
  await assert.rejects(stranger.chat({ model, messages }), (error) => error.status_code === 401);
});

test("leaving", async () => {
  const stream = await ollama.chat({ model, messages, stream: true });
  await assert.rejects(async () => {
    for await (const _ of stream) stream.abort();
  }, { name: "AbortError" });
});

test("models are not managed", async () => {
  await assert.rejects(ollama.pull({ model }), (error) => {
    assert.equal(error.status_code, 403);
    return /does not manage models/.test(error.message);
  });
});

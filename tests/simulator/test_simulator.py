"""The simulator, tested over HTTP."""

import asyncio
import contextlib
import json
import math
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from simulator import ANSWER_TOKENS, THINKING_TOKENS, Call, Fault, Simulator
from simulator.content.grammars import has_grammar
from simulator.content.json_answers import value_for
from simulator.names import parse_name

REPOSITORY = Path(__file__).parent.parent.parent
JSON = "application/json; charset=utf-8"
GENERATE: dict[str, Any] = {"model": "llama3.1", "prompt": "tell me something"}
CHAT: dict[str, Any] = {"model": "llama3.1", "messages": [{"role": "user", "content": "hello"}]}
EMBED: dict[str, Any] = {"model": "nomic-embed-text", "input": "hello"}
SOON = 10.0  # for a busy machine


@pytest_asyncio.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest_asyncio.fixture
async def client(simulator: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(simulator.url, timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


@pytest_asyncio.fixture
async def old_client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a simulator that speaks as Ollama 0.24."""
    async with Simulator(age="0.24") as old, aiohttp.ClientSession(old.url) as session:
        yield session


async def post(client: aiohttp.ClientSession, path: str, body: Any) -> tuple[int, Any]:
    async with client.post(path, json=body) as response:
        return response.status, json.loads(await response.read())


async def whole(client: aiohttp.ClientSession, body: dict[str, Any], **more: Any) -> dict[str, Any]:
    path = "/api/chat" if "messages" in body else "/api/generate"
    status, answer = await post(client, path, body | {"stream": False} | more)
    assert status == 200, answer
    assert isinstance(answer, dict)
    return answer


async def lines(client: aiohttp.ClientSession, body: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    path = "/api/chat" if "messages" in body else "/api/generate"
    async with client.post(path, json=body | more) as response:
        assert response.status == 200
        data = await response.read()
    assert data.endswith(b"\n") or not data
    return [json.loads(line) for line in data.splitlines()]


async def ended(call: Call) -> Call:
    async with asyncio.timeout(SOON):
        await call.ended_event.wait()
    return call


# Installed and loaded models


async def test_root_and_version_respond_as_in_ollama(client: aiohttp.ClientSession) -> None:
    async with client.get("/") as response:
        assert response.content_type == "text/plain"
        assert await response.read() == b"Ollama is running"
    async with client.get("/api/version") as response:
        assert response.headers["Content-Type"] == JSON
        assert await response.json() == {"version": "0.0.0-simulator"}


async def test_tags_list_the_newest_model_first_with_its_tag(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.install("gpt-oss:20b")
    async with client.get("/api/tags") as response:
        models = (await response.json())["models"]
    assert [model["name"] for model in models] == [
        "gpt-oss:20b", "nomic-embed-text:latest", "llama3.1:latest", "gpt-oss:latest",
    ]  # fmt: skip
    assert all(model["model"] == model["name"] for model in models)
    assert models[3]["capabilities"] == ["completion", "tools", "thinking"]
    assert set(models[0]) == {"name", "model", "modified_at", "size", "digest", "details", "capabilities"}


async def test_a_removed_model_is_not_found(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.remove("LLAMA3.1")
    async with client.get("/api/tags") as response:
        assert len((await response.json())["models"]) == 2
    status, answer = await post(client, "/api/generate", GENERATE)
    assert (status, answer) == (404, {"error": "model 'llama3.1' not found"})
    with pytest.raises(KeyError):
        simulator.remove("llama3.1")


async def test_ps_lists_loaded_models(client: aiohttp.ClientSession) -> None:
    async def running() -> list[str]:
        async with client.get("/api/ps") as response:
            return [model["name"] for model in (await response.json())["models"]]

    assert await running() == []
    await whole(client, GENERATE)
    await whole(client, GENERATE | {"model": "gpt-oss"}, keep_alive=-1)
    assert await running() == ["gpt-oss:latest", "llama3.1:latest"]
    answer = await whole(client, {"model": "gpt-oss"}, keep_alive=0)
    assert answer["done_reason"] == "unload"
    await whole(client, CHAT, keep_alive="0s")
    assert await running() == []


async def test_show_has_capabilities_and_context_length(client: aiohttp.ClientSession) -> None:
    status, answer = await post(client, "/api/show", {"model": "nomic-embed-text"})
    assert status == 200
    assert answer["capabilities"] == ["embedding"]
    architecture = answer["model_info"]["general.architecture"]
    assert answer["model_info"][f"{architecture}.context_length"] == 2048


async def test_changing_num_ctx_reloads_the_model(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    for num_ctx in (1024, 1024, 2048):
        await whole(client, GENERATE, options={"num_ctx": num_ctx})
    assert simulator.loads["llama3.1:latest"] == 2


async def test_the_first_response_of_a_model_waits_for_its_load() -> None:
    async with Simulator(load_seconds=0.1) as simulator, aiohttp.ClientSession(simulator.url) as client:
        first, second = await whole(client, GENERATE), await whole(client, GENERATE)
    assert first["load_duration"] >= 99_000_000 > second["load_duration"]


async def test_a_disconnect_cancels_the_load() -> None:
    async with Simulator(load_seconds=20) as simulator, aiohttp.ClientSession(simulator.url) as client:
        leaving = asyncio.create_task(whole(client, GENERATE))
        call = await simulator.received("/api/generate")
        await asyncio.sleep(0.02)
        leaving.cancel()
        assert (await ended(call)).outcome == "client_gone"
        async with client.get("/api/ps") as response:
            assert (await response.json())["models"] == []


# Generate and chat


async def test_a_stream_has_one_token_per_line_and_metrics_on_the_last(client: aiohttp.ClientSession) -> None:
    async with client.post("/api/generate", json=GENERATE) as response:
        assert response.headers["Content-Type"] == "application/x-ndjson"
        assert response.headers["Transfer-Encoding"] == "chunked"
        *tokens, last = [json.loads(line) for line in (await response.read()).splitlines()]
    assert len(tokens) == ANSWER_TOKENS
    assert all(set(token) == {"model", "created_at", "response", "done"} for token in tokens)
    text = "".join(token["response"] for token in tokens)
    assert text.startswith("[simulated llama3.1] ")
    assert not text.isascii()
    assert last["done"] is True
    assert (last["response"], last["done_reason"], last["eval_count"]) == ("", "stop", ANSWER_TOKENS)
    assert last["context"]
    assert last["total_duration"] > last["load_duration"] > 0
    assert last["created_at"].endswith("Z")


async def test_a_complete_response_has_the_text_of_the_stream(client: aiohttp.ClientSession) -> None:
    text = "".join(line["response"] for line in await lines(client, GENERATE))
    async with client.post("/api/generate", json=GENERATE | {"stream": False}) as response:
        assert response.headers["Content-Type"] == JSON
        assert int(response.headers["Content-Length"]) == len(body := await response.read())
    assert not body.endswith(b"\n")
    assert json.loads(body)["response"] == text


async def test_chat_responds_with_a_message_without_context(client: aiohttp.ClientSession) -> None:
    *tokens, last = await lines(client, CHAT)
    assert {token["message"]["role"] for token in tokens} == {"assistant"}
    assert last["message"] == {"role": "assistant", "content": ""}
    assert "context" not in last
    assert "response" not in last
    text = "".join(token["message"]["content"] for token in tokens)
    assert (await whole(client, CHAT))["message"]["content"] == text


@pytest.mark.parametrize("think", [None, False, True, "high"])
async def test_gpt_oss_always_thinks(client: aiohttp.ClientSession, think: object) -> None:
    made = await lines(client, CHAT | {"model": "gpt-oss", "think": think})
    thoughts = [line["message"] for line in made if "thinking" in line["message"]]
    assert len(thoughts) == THINKING_TOKENS
    assert all(message["content"] == "" for message in thoughts)
    assert made[-1]["eval_count"] == THINKING_TOKENS + ANSWER_TOKENS


async def test_thinking_of_other_models_can_be_disabled(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.install("qwen3:4b")
    assert (await whole(client, GENERATE, model="qwen3:4b"))["thinking"]
    assert "thinking" not in await whole(client, GENERATE, model="qwen3:4b", think=False)
    status, answer = await post(client, "/api/generate", GENERATE | {"model": "qwen3:4b", "think": "low"})
    assert (status, answer["error"]) == (400, 'think value "low" is not supported for this model')


async def test_thinking_can_use_up_num_predict(client: aiohttp.ClientSession) -> None:
    answer = await whole(client, GENERATE, model="gpt-oss", options={"num_predict": 4})
    assert answer["response"] == ""
    assert answer["thinking"]
    assert (answer["done_reason"], answer["eval_count"]) == ("length", 4)


async def test_num_predict_and_stop_end_a_response(client: aiohttp.ClientSession) -> None:
    short = await whole(client, GENERATE, options={"num_predict": 3})
    assert (short["done_reason"], short["eval_count"]) == ("length", 3)
    stopped = await whole(client, GENERATE, options={"stop": ["nowhere", " llama3.1]"]})
    assert (stopped["done_reason"], stopped["response"]) == ("stop", "[simulated")


async def test_text_depends_only_on_prompt_and_seed(client: aiohttp.ClientSession) -> None:
    async def text(seed: int | None, prompt: str = "x") -> str:
        answer = await whole(client, GENERATE | {"prompt": prompt}, options={"seed": seed})
        return str(answer["response"])

    assert await text(1) == await text(1)
    assert await text(None) == await text(None)
    assert len({await text(None), await text(1), await text(2), await text(1, "y")}) == 4


async def test_the_model_name_is_echoed_and_its_case_ignored(client: aiohttp.ClientSession) -> None:
    for name in ("LLAMA3.1", "library/llama3.1:latest", "registry.ollama.ai/library/llama3.1", "llama3.1:local"):
        assert (await whole(client, GENERATE, model=name))["model"] == name


@pytest.mark.parametrize(
    ("path", "body", "part"),
    [
        ("/api/generate", {"model": "llama3.1"}, {"response": ""}),
        ("/api/chat", {"model": "llama3.1", "messages": []}, {"message": {"role": "assistant", "content": ""}}),
    ],
)
async def test_an_empty_prompt_gets_one_object_even_if_streamed(
    client: aiohttp.ClientSession, path: str, body: dict[str, Any], part: dict[str, Any]
) -> None:
    for keep_alive, reason in ((None, "load"), (0, "unload")):
        async with client.post(path, json=body | {"stream": True, "keep_alive": keep_alive}) as response:
            assert response.headers["Content-Type"] == JSON
            data = await response.read()
        assert not data.endswith(b"\n")
        answer = json.loads(data)
        assert answer.pop("created_at")
        assert answer == {"model": "llama3.1", "done": True, "done_reason": reason} | part


async def test_the_json_format_returns_json(client: aiohttp.ClientSession) -> None:
    assert json.loads((await whole(client, GENERATE, format="json"))["response"])["simulated"] is True


SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"const": "report"},
        "mood": {"enum": ["good", "bad"]},
        "title": {"type": "string", "minLength": 30, "maxLength": 32},
        "stars": {"type": "integer", "minimum": 3, "maximum": 4},
        "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 0.1},
        "ready": {"type": "boolean"},
        "note": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/note"}]},
        "tree": {"$ref": "#/$defs/tree"},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 3},
        "maybe": {"type": ["null", "string"]},
    },
    "required": ["kind", "extra"],
    "$defs": {
        "note": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        "tree": {
            "type": "object",
            "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
        },
    },
}


@pytest.mark.parametrize("seed", range(5))
async def test_a_schema_is_satisfied(client: aiohttp.ClientSession, seed: int) -> None:
    answer = await whole(client, CHAT, model="gpt-oss", format=SCHEMA, options={"seed": seed})
    assert answer["message"]["thinking"]
    made = json.loads(answer["message"]["content"])
    assert set(made) == {*SCHEMA["properties"], "extra"}
    assert made["kind"] == "report"
    assert made["mood"] in {"good", "bad"}
    assert 30 <= len(made["title"]) <= 32
    assert made["stars"] in {3, 4}
    assert 0 < made["share"] <= 0.1
    assert isinstance(made["ready"], bool)
    assert isinstance(made["note"]["text"], str)
    assert isinstance(made["tree"]["children"], list)
    assert len(made["tags"]) >= 3
    assert isinstance(made["maybe"], str)


@pytest.mark.parametrize(
    ("schema", "satisfied"),
    [
        (
            {"allOf": [{"properties": {"a": {}}, "required": ["a"]}, {"required": ["b"]}]},
            lambda v: set(v) == {"a", "b"},
        ),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}], "maximum": -7}, lambda v: v <= -7),
        ({"type": "integer", "multipleOf": 5, "exclusiveMinimum": 10, "maximum": 15}, lambda v: v == 15),
        (
            {"type": "array", "uniqueItems": True, "minItems": 3, "items": {"enum": [1, 2, 3]}},
            lambda v: set(v) == {1, 2, 3},
        ),
        ({"prefixItems": [{"type": "boolean"}, {"type": "null"}]}, lambda v: isinstance(v[0], bool) and v[1] is None),
        ({"type": "array", "maxItems": 0}, lambda v: v == []),
        ({"type": "string", "format": "date"}, lambda v: v == "2024-02-29"),
        ({"type": ["null"]}, lambda v: v is None),
        ({"minimum": 0.5, "maximum": 0.5}, lambda v: v == 0.5),
        (True, lambda v: isinstance(v, str)),
    ],
)
def test_schema_keywords_are_satisfied(schema: Any, satisfied: Callable[[Any], bool]) -> None:
    for seed in range(20):
        assert satisfied(value_for(schema, random.Random(seed)))


def test_a_recursive_schema_terminates() -> None:
    node = {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["next"],
    }
    made, depth = value_for(node, random.Random(1)), 0
    while made is not None:
        made, depth = made["next"], depth + 1
    assert depth > 1


@pytest.mark.parametrize(
    ("text", "shortest"),
    [
        ("gpt-oss", "gpt-oss:latest"),
        ("GPT-OSS:20b", "GPT-OSS:20b"),
        ("me/mine", "me/mine:latest"),
        ("localhost:5000/me/mine", "localhost:5000/me/mine:latest"),
        ("https://hub.example/me/mine:v1", "hub.example/me/mine:v1"),
        ("/mine", None),
        ("mine:", None),
        ("", None),
    ],
)
def test_names_are_listed_in_their_shortest_form(text: str, shortest: str | None) -> None:
    name = parse_name(text)
    assert (name.shortest if name else None) == shortest


async def test_gpt_oss_returns_no_text_with_a_format_on_generate(client: aiohttp.ClientSession) -> None:
    answer = await whole(client, GENERATE, model="gpt-oss", format="json")
    assert answer["response"] == ""
    assert "thinking" not in answer
    assert answer["done_reason"] == "stop"
    assert answer["eval_count"] > 0


async def test_a_tool_named_by_the_user_is_called_with_an_arguments_object(client: aiohttp.ClientSession) -> None:
    parameters = {"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]}
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": parameters}}
    asked = CHAT | {"tools": [tool], "messages": [{"role": "USER", "content": "please get_weather"}]}
    made = await lines(client, asked)
    (message,) = [line["message"] for line in made if line["message"].get("tool_calls")]
    (call,) = message["tool_calls"]
    assert message["content"] == ""
    assert call["function"]["name"] == "get_weather"
    assert isinstance(call["function"]["arguments"]["days"], int)
    answered = [*asked["messages"], {"role": "tool", "content": "sunny, get_weather", "tool_name": "get_weather"}]
    assert "tool_calls" not in (await whole(client, asked | {"messages": answered}))["message"]


async def test_json_is_escaped_as_go_escapes_it(client: aiohttp.ClientSession) -> None:
    async with client.post("/api/generate", json=GENERATE | {"model": "<&>"}) as response:
        assert b"invalid model name" in await response.read()
    tool = {"type": "function", "function": {"name": "a<b", "parameters": {}}}
    body = CHAT | {"tools": [tool], "messages": [{"role": "user", "content": "a<b"}], "stream": False}
    async with client.post("/api/chat", json=body) as response:
        assert b'"name":"a\\u003cb"' in await response.read()


async def test_field_names_are_case_insensitive_and_trailing_data_is_ignored(client: aiohttp.ClientSession) -> None:
    body = b'{"MODEL": "llama3.1", "Prompt": "x", "STREAM": false, "unknown": 1} trailing'
    async with client.post("/api/generate", data=body) as response:
        assert response.status == 200
        assert json.loads(await response.read())["done"] is True


# Embeddings


def cosine(one: list[float], two: list[float]) -> float:
    product = sum(a * b for a, b in zip(one, two, strict=True))
    return product / (math.hypot(*one) * math.hypot(*two))


async def test_embeddings_have_unit_length_and_are_similar_for_similar_texts(client: aiohttp.ClientSession) -> None:
    texts = ["the cat sat on the mat", "a cat sat on a mat", "quarterly tax report", ""]
    status, answer = await post(client, "/api/embed", EMBED | {"input": texts})
    assert status == 200
    assert set(answer) == {"model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"}
    cat, other_cat, tax, empty = answer["embeddings"]
    assert {len(vector) for vector in (cat, other_cat, tax, empty)} == {768}
    assert all(math.hypot(*vector) == pytest.approx(1, abs=1e-6) for vector in (cat, other_cat, tax, empty))
    assert cosine(cat, other_cat) > 0.5 > cosine(cat, tax) + 0.2


async def test_the_legacy_route_returns_the_same_vector_not_normalized(client: aiohttp.ClientSession) -> None:
    _, modern = await post(client, "/api/embed", EMBED)
    status, legacy = await post(client, "/api/embeddings", {"model": "nomic-embed-text", "prompt": "hello"})
    assert status == 200
    assert set(legacy) == {"embedding"}
    assert math.hypot(*legacy["embedding"]) != pytest.approx(1, abs=0.1)
    assert cosine(legacy["embedding"], modern["embeddings"][0]) == pytest.approx(1)


@pytest.mark.parametrize(("dimensions", "length"), [(64, 64), (768, 768), (9999, 768), (0, 768), (-1, 768)])
async def test_dimensions_truncate_and_normalize(client: aiohttp.ClientSession, dimensions: int, length: int) -> None:
    _, answer = await post(client, "/api/embed", EMBED | {"dimensions": dimensions})
    (vector,) = answer["embeddings"]
    assert len(vector) == length
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("body", [{}, {"input": ""}, {"input": []}, {"input": None}])
async def test_no_texts_give_an_empty_list(client: aiohttp.ClientSession, body: dict[str, Any]) -> None:
    status, answer = await post(client, "/api/embed", {"model": "nomic-embed-text"} | body)
    assert (status, answer) == (200, {"model": "nomic-embed-text", "embeddings": []})
    status, answer = await post(client, "/api/embeddings", {"model": "nomic-embed-text", "input": "misnamed"})
    assert (status, answer) == (200, {"embedding": []})


async def test_the_embedding_width_of_a_model_can_be_set(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.install("tiny", capabilities=["embedding"], width=32)
    _, answer = await post(client, "/api/embed", EMBED | {"model": "tiny"})
    assert len(answer["embeddings"][0]) == 32


async def test_a_long_text_is_truncated_or_rejected(client: aiohttp.ClientSession) -> None:
    long = "word " * 5000
    status, answer = await post(client, "/api/embed", EMBED | {"input": long})
    assert (status, answer["prompt_eval_count"]) == (200, 2048)
    status, answer = await post(client, "/api/embed", EMBED | {"input": long, "truncate": False})
    assert (status, answer) == (400, {"error": "the input length exceeds the context length"})
    status, _ = await post(client, "/api/embeddings", {"model": "nomic-embed-text", "prompt": long})
    assert status == 500


# Errors

NOT_FOUND = {"error": "model 'nope' not found"}
PULL_FIRST = {"error": 'model "nope" not found, try pulling it first'}
ENDPOINTS = ["/api/generate", "/api/chat", "/api/embed", "/api/embeddings", "/api/show"]


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "missing request body"),
        (b"{", "unexpected EOF"),
        (b'{"model":"x', "unexpected EOF"),
        (b"hello", "invalid character 'h' looking for beginning of value"),
        (b'{"model":"tiny:"}', "invalid model name"),
        (b'{"model":"tiny@sha256"}', "invalid model name"),
        (b'{"model":"registry.ollama.ai/tiny"}', "invalid model name"),
        (b'{"model":"a:cloud:cloud"}', "invalid model name"),
    ],
)
async def test_bad_bodies_and_names_get_400(
    client: aiohttp.ClientSession, path: str, body: bytes, message: str
) -> None:
    async with client.post(path, data=body) as response:
        assert response.status == 400
        assert response.headers["Content-Type"] == JSON
        assert json.loads(await response.read()) == {"error": message}


@pytest.mark.parametrize(
    ("path", "unnamed", "unknown"),
    [
        ("/api/generate", (404, {"error": "model '' not found"}), (404, NOT_FOUND)),
        ("/api/chat", (400, {"error": "model is required"}), (404, NOT_FOUND)),
        ("/api/embed", (404, {"error": "model '' not found"}), (404, PULL_FIRST)),
        ("/api/embeddings", (400, {"error": "model is required"}), (404, PULL_FIRST)),
        ("/api/show", (400, {"error": "model is required"}), (404, {"error": "model 'nope:latest' not found"})),
    ],
)
async def test_missing_models(client: aiohttp.ClientSession, path: str, unnamed: object, unknown: object) -> None:
    assert await post(client, path, {}) == unnamed
    assert await post(client, path, {"model": " "}) == unnamed
    assert await post(client, path, {"model": "nope"}) == unknown


async def test_only_the_legacy_route_is_case_sensitive(client: aiohttp.ClientSession) -> None:
    assert (await post(client, "/api/embed", EMBED | {"model": "Nomic-Embed-Text"}))[0] == 200
    assert (await post(client, "/api/embeddings", {"model": "Nomic-Embed-Text", "prompt": "x"}))[0] == 404


DURATION = "time: missing unit in duration"
CANNOT = "json: cannot unmarshal"


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/api/generate", {"model": 5}, 400,
         f"{CANNOT} number into Go struct field GenerateRequest.model of type string"),
        ("/api/chat", [1], 400, f"{CANNOT} array into Go value of type api.ChatRequest"),
        ("/api/chat", CHAT | {"messages": [{"role": "user", "content": [1]}]}, 400,
         f"{CANNOT} array into Go struct field ChatRequest.messages.content of type string"),
        ("/api/embed", EMBED | {"dimensions": "x"}, 400,
         f"{CANNOT} string into Go struct field EmbedRequest.dimensions of type int"),
        ("/api/embed", EMBED | {"input": [1]}, 400, "invalid input type"),
        ("/api/generate", GENERATE | {"keep_alive": "5"}, 400, f'{DURATION} "5"'),
        ("/api/generate", GENERATE | {"keep_alive": "-1"}, 400, f'{DURATION} "-1"'),
        ("/api/embed", EMBED | {"keep_alive": "abc"}, 400, 'time: invalid duration "abc"'),
        ("/api/chat", CHAT | {"keep_alive": "5x"}, 400, 'time: unknown unit "x" in duration "5x"'),
        ("/api/chat", CHAT | {"keep_alive": True}, 400, "Unsupported type: 'bool'"),
        ("/api/generate", GENERATE | {"options": {"temperature": "hot"}}, 500,
         'option "temperature" must be of type float32'),
        ("/api/chat", CHAT | {"options": {"num_ctx": True}}, 500, 'option "num_ctx" must be of type integer'),
        ("/api/embed", EMBED | {"options": {"use_mmap": 1}}, 500, 'option "use_mmap" must be of type boolean'),
        ("/api/generate", GENERATE | {"options": {"stop": "x"}}, 500, 'option "stop" must be of type array'),
        ("/api/generate", GENERATE | {"options": {"stop": [1]}}, 500, 'option "stop" must be of an array of strings'),
        ("/api/generate", GENERATE | {"images": ["%%"]}, 400, "illegal base64 data at input byte 0"),
        ("/api/generate", GENERATE | {"top_logprobs": 40}, 400, "top_logprobs must be between 0 and 20"),
        ("/api/generate", GENERATE | {"think": True}, 400, '"llama3.1" does not support thinking'),
        ("/api/chat", CHAT | {"think": "high"}, 400, '"llama3.1" does not support thinking'),
        ("/api/chat", CHAT | {"think": "bogus"}, 400,
         'invalid think value: "bogus" (must be "high", "medium", "low", "max", true, or false)'),
        ("/api/chat", CHAT | {"think": 3}, 400,
         'think must be a boolean or string ("high", "medium", "low", "max", true, or false)'),
        ("/api/generate", GENERATE | {"suffix": "x"}, 400,
         "registry.ollama.ai/library/llama3.1:latest does not support insert"),
        ("/api/generate", GENERATE | {"raw": True, "system": "x"}, 400,
         "raw mode does not support template, system, or context"),
        ("/api/generate", EMBED | {"prompt": "x"}, 400, '"nomic-embed-text" does not support generate'),
        ("/api/chat", CHAT | {"model": "nomic-embed-text"}, 400, '"nomic-embed-text" does not support chat'),
        ("/api/generate", GENERATE | {"model": "gpt-oss:20b-cloud"}, 403,
         "ollama cloud is disabled: remote model is unavailable"),
    ],
)  # fmt: skip
async def test_errors_have_the_status_and_text_of_ollama(
    client: aiohttp.ClientSession, path: str, body: Any, status: int, message: str
) -> None:
    assert await post(client, path, body) == (status, {"error": message})


async def test_tools_require_a_model_that_supports_them(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.install("plain", capabilities=["completion"])
    tool = {"type": "function", "function": {"name": "x"}}
    status, answer = await post(client, "/api/chat", CHAT | {"model": "plain", "tools": [tool]})
    assert (status, answer["error"]) == (400, "registry.ollama.ai/library/plain:latest does not support tools")


async def test_a_text_model_has_no_embeddings(client: aiohttp.ClientSession) -> None:
    status, answer = await post(client, "/api/embed", EMBED | {"model": "llama3.1"})
    assert status == 501
    assert json.loads(answer["error"])["error"]["code"] == 501
    assert (await post(client, "/api/embeddings", {"model": "llama3.1", "prompt": "x"}))[0] == 500


@pytest.mark.parametrize("wanted", ["yaml", 3, ["a"], '{"type":"object"}', True])
async def test_an_invalid_format_gets_500_also_when_streamed(client: aiohttp.ClientSession, wanted: object) -> None:
    for stream, media_type in ((True, "application/json"), (False, JSON)):
        async with client.post("/api/chat", json=CHAT | {"format": wanted, "stream": stream}) as response:
            assert response.status == 500
            assert response.headers["Content-Type"] == media_type
            assert json.loads(await response.read())["error"].startswith("invalid format: ")


@pytest.mark.parametrize("more", [{}, {"truncate": False, "options": {"num_ctx": 4}}])
@pytest.mark.parametrize(("path", "body"), [("/api/generate", GENERATE), ("/api/chat", CHAT)])
async def test_before_0_30_a_schema_without_a_grammar_gets_500(
    old_client: aiohttp.ClientSession, path: str, body: dict[str, Any], more: dict[str, Any]
) -> None:
    client = old_client
    for stream, media_type in ((True, "application/json"), (False, JSON)):
        asked = body | more | {"format": {"type": "banana"}, "stream": stream}
        async with client.post(path, json=asked) as response:
            assert (response.status, response.headers["Content-Type"]) == (500, media_type)
            assert json.loads(await response.read()) == {"error": "invalid JSON schema in format"}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_schema_of_no_known_type_gets_400_in_llama_servers_words(
    client: aiohttp.ClientSession, stream: bool
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "banana"}}}
    async with client.post("/api/generate", json=GENERATE | {"format": schema, "stream": stream}) as response:
        assert response.status == 400
        error = json.loads(json.loads(await response.read())["error"])["error"]
    assert error["message"].endswith("unrecognized type banana")
    for taken in ({"type": "string", "pattern": "abc"}, {"required": ["a"]}):
        async with client.post("/api/generate", json=GENERATE | {"format": taken, "stream": stream}) as response:
            assert response.status == 200


async def test_before_0_30_lists_tell_less_of_models(
    client: aiohttp.ClientSession, old_client: aiohttp.ClientSession
) -> None:
    for asked, tells in ((client, True), (old_client, False)):
        async with asked.get("/api/tags") as response:
            model = (await response.json())["models"][0]
        assert ("capabilities" in model) is tells
        assert ("context_length" in model["details"]) is tells


# As accepted and rejected by Ollama 0.24.
@pytest.mark.parametrize(
    "schema",
    [
        {}, {"type": "null"}, {"type": ["string", "null"]}, {"const": 1}, {"enum": []}, {"properties": {}},
        {"type": "object", "not": {}}, {"type": "object", "properties": {"a": {}}}, {"additionalProperties": False},
        {"items": {"type": "string"}}, {"prefixItems": [{"type": "string"}]}, {"type": "array", "contains": {}},
        {"type": "string", "pattern": "^a$"}, {"pattern": "^a$"}, {"type": "number", "pattern": "a"},
        {"type": "string", "enum": ["a"], "pattern": "a"}, {"format": "uuid"}, {"type": "string", "format": "email"},
        {"allOf": [{"type": "string", "pattern": "a"}]}, {"$ref": "https://example.org/a"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}}}},
        {"type": "string", "$defs": {"a": {"type": "string", "pattern": "a"}}},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_a_schema_has_a_grammar(schema: dict[str, Any]) -> None:
    assert has_grammar(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "banana"}, {"type": ["string", "banana"]}, {"type": 1}, {"not": {}}, {"title": "a"}, {"minimum": 1},
        {"format": "email"}, {"format": []}, {"required": ["a"]}, {"patternProperties": {"a": {}}},
        {"type": "object", "properties": {"a": True}}, {"type": "object", "properties": {"a": {"minimum": 3}}},
        {"type": "object", "additionalProperties": {"type": "string", "pattern": "a"}},
        {"type": "array", "items": {"not": {}}}, {"anyOf": [{"type": "string"}, {"not": {}}]}, {"anyOf": 1},
        {"type": "string", "pattern": "a"}, {"pattern": ""},
        {"allOf": [{"properties": {"a": {"type": "string", "pattern": "a"}}}]},
        {"$ref": "#"}, {"$ref": "#a", "$anchor": "a"}, {"type": "object", "$ref": "#/nope"},
        {"type": "string", "$defs": {"a": {"$ref": "#/nope"}}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "string", "pattern": "a"}}},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_a_schema_has_no_grammar(schema: dict[str, Any]) -> None:
    assert not has_grammar(schema)


@pytest.mark.parametrize(("path", "body"), [("/api/generate", GENERATE), ("/api/chat", CHAT)])
async def test_a_long_prompt_is_truncated_unless_truncate_is_false(
    client: aiohttp.ClientSession, path: str, body: dict[str, Any]
) -> None:
    needed = (await whole(client, body))["prompt_eval_count"]
    assert (await whole(client, body, options={"num_ctx": needed - 1}))["prompt_eval_count"] == needed - 1
    assert (await whole(client, body, options={"num_ctx": needed}, truncate=False))["prompt_eval_count"] == needed
    for stream, media_type in ((True, "application/json"), (False, JSON)):
        asked = body | {"options": {"num_ctx": needed - 1}, "truncate": False, "stream": stream}
        async with client.post(path, json=asked) as response:
            assert (response.status, response.headers["Content-Type"]) == (400, media_type)
            error = json.loads(json.loads(await response.read())["error"])["error"]
        assert (error["type"], error["n_prompt_tokens"], error["n_ctx"]) == (
            "exceed_context_size_error",
            needed,
            needed - 1,
        )


@pytest.mark.parametrize("body", [GENERATE, CHAT])
async def test_without_shift_a_response_ends_when_the_context_is_full(
    old_client: aiohttp.ClientSession, body: dict[str, Any]
) -> None:
    client = old_client
    needed = (await whole(client, body))["prompt_eval_count"]
    for room, made in ((-1, 1), (0, 1), (1, 2), (9, 10)):
        answer = await whole(client, body, options={"num_ctx": needed + room}, shift=False)
        assert (answer["eval_count"], answer["done_reason"]) == (made, "length")
        assert ("eval_duration" in answer) == (made > 1)
    answer = await whole(client, body, options={"num_ctx": needed + 9, "num_predict": 3}, shift=False)
    assert answer["eval_count"] == 3
    answer = await whole(client, body, options={"num_ctx": needed + 9})
    assert (answer["eval_count"], answer["done_reason"]) == (ANSWER_TOKENS, "stop")


async def test_the_last_line_has_its_keys_in_ollamas_order(client: aiohttp.ClientSession) -> None:
    keys = [
        "model", "created_at", "response", "done", "done_reason", "context", "total_duration", "load_duration",
        "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration",
    ]  # fmt: skip
    assert list(await whole(client, GENERATE)) == list((await lines(client, GENERATE))[-1]) == keys


async def test_responses_have_no_server_header(client: aiohttp.ClientSession) -> None:
    for path, body in (("/api/generate", GENERATE), ("/api/embed", EMBED), ("/api/nothing", {})):
        async with client.post(path, json=body) as response:
            assert "Server" not in response.headers


async def test_floats_for_integer_options_are_truncated_and_unknown_options_ignored(
    client: aiohttp.ClientSession,
) -> None:
    answer = await whole(client, GENERATE, options={"num_predict": 2.7, "TEMPERATURE": "x", "seed": None})
    assert answer["eval_count"] == 2


async def test_router_errors_are_plain_text(client: aiohttp.ClientSession) -> None:
    async with client.get("/api/nothing") as response:
        assert (response.status, await response.text()) == (404, "404 page not found")
        assert response.headers["Content-Type"] == "text/plain"
    for method, path in (("GET", "/api/generate"), ("POST", "/api/tags"), ("HEAD", "/api/ps")):
        async with client.request(method, path) as response:
            assert (response.status, response.headers["Content-Type"]) == (405, "text/plain")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://shop.example"}, 403),
        ({"Host": "ollama.example"}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "app://x"}, 200),
        ({"Host": "box.internal"}, 200),
    ],
)
async def test_foreign_origins_and_hosts_get_an_empty_403(
    client: aiohttp.ClientSession, headers: dict[str, str], status: int
) -> None:
    async with client.get("/api/version", headers=headers) as response:
        assert response.status == status
        assert (await response.read() == b"") == (status == 403)


# Calls


async def test_every_request_is_recorded_with_its_outcome(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    async with client.get("/api/tags", headers={"X-Mark": "here"}) as response:
        await response.read()
    await lines(client, GENERATE)
    async with client.post("/nowhere", data=b"not json") as response:
        await response.read()
    tags, generate, nowhere = simulator.calls
    assert (tags.method, tags.path, tags.headers["x-mark"], tags.body) == ("GET", "/api/tags", "here", None)
    assert generate.body == GENERATE
    assert generate.chunks_sent == ANSWER_TOKENS + 1
    assert generate.first_byte is not None
    assert generate.ended is not None
    assert generate.started <= generate.first_byte <= generate.ended
    assert (nowhere.status, nowhere.body, nowhere.outcome) == (404, None, "completed")
    assert tags.connection == generate.connection == nowhere.connection
    assert (tags.reused, generate.reused) == (False, True)
    assert simulator.calls_to("/api/generate") == [generate]
    assert simulator.open_calls == 0


@asynccontextmanager
async def connected(simulator: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a client whose connections are aborted on exit."""
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(simulator.url, connector=connector) as session:
        yield session


LEAVING = [
    pytest.param(Fault(hang=True), True, id="hanging"),
    pytest.param(Fault(delay_seconds=60), True, id="before the first byte"),
    pytest.param(Fault(stall_after=2), True, id="stalled"),
    pytest.param(Fault(endless=True), True, id="endless"),
    pytest.param(Fault(endless=True), False, id="endless, whole"),
    pytest.param(Fault(stall_after=1), False, id="stalled, whole"),
    pytest.param(Fault(stall_after=0), True, id="after the headers"),
]


@pytest.mark.parametrize(("fault", "stream"), LEAVING)
async def test_a_disconnect_is_noticed_immediately(simulator: Simulator, fault: Fault, stream: bool) -> None:
    simulator.fault(fault)
    async with connected(simulator) as client:
        leaving = asyncio.create_task(lines(client, GENERATE, stream=stream))
        call = await simulator.received("/api/generate")
        await asyncio.sleep(0.05)
        assert simulator.open_calls == 1
        left = time.perf_counter()
        leaving.cancel()
        await ended(call)
        assert time.perf_counter() - left < SOON
    assert call.outcome == "client_gone"
    assert simulator.open_calls == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_disconnect_between_tokens_is_noticed(simulator: Simulator, stream: bool) -> None:
    simulator.seconds_per_token = 1.0
    async with connected(simulator) as client:
        leaving = asyncio.create_task(lines(client, GENERATE, stream=stream))
        call = await simulator.received("/api/generate")
        await asyncio.sleep(0.02)
        leaving.cancel()
        assert (await ended(call)).outcome == "client_gone"


async def test_an_endless_stream_waits_for_a_reader_that_does_not_read(simulator: Simulator) -> None:
    simulator.fault(Fault(endless=True))
    reader, writer = await asyncio.open_connection(simulator.host, simulator.port, limit=1024)
    body = json.dumps(GENERATE).encode()
    writer.write(b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    call = await simulator.received("/api/generate")
    sent = -1
    async with asyncio.timeout(20):
        while sent != call.chunks_sent or not sent:
            sent = call.chunks_sent
            await asyncio.sleep(0.1)
    assert call.outcome is None
    writer.transport.abort()
    assert (await ended(call)).outcome == "client_gone"
    assert reader.exception() is None or isinstance(reader.exception(), ConnectionError)


# Faults


async def test_a_fault_applies_the_given_number_of_times(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    busy = "server busy, please try again.  maximum pending requests exceeded"
    simulator.fault(Fault(status=503, message=busy, times=2, retry_after="7"))
    for _ in range(2):
        async with client.post("/api/generate", json=GENERATE) as response:
            assert (response.status, response.headers["Content-Type"]) == (503, JSON)
            assert response.headers["Retry-After"] == "7"
            assert json.loads(await response.read()) == {"error": busy}
    assert len(await lines(client, GENERATE)) == ANSWER_TOKENS + 1


async def test_a_fault_applies_only_to_its_path_and_model(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(status=500, model="GPT-OSS:latest", times=None))
    simulator.fault(Fault(status=502, path="/api/tags"))
    await whole(client, GENERATE)
    assert (await post(client, "/api/chat", CHAT | {"model": "gpt-oss"}))[0] == 500
    for status in (502, 200):
        async with client.get("/api/tags") as response:
            assert response.status == status
    simulator.clear_faults()
    await whole(client, CHAT, model="gpt-oss")


async def test_faults_apply_in_order(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    for status in (500, 503):
        simulator.fault(Fault(status=status))
    assert [(await post(client, "/api/embed", EMBED))[0] for _ in range(3)] == [500, 503, 200]


async def test_garbage_can_replace_a_response(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(body=b"<html>bad gateway</html>", status=502))
    async with client.post("/api/generate", json=GENERATE) as response:
        assert (response.status, response.content_type) == (502, "text/html")
        assert await response.read() == b"<html>bad gateway</html>"


async def test_a_model_that_fails_to_load_is_not_listed_as_running(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    await whole(client, GENERATE)
    simulator.fault(Fault(load_failure=True))
    status, answer = await post(client, "/api/generate", GENERATE)
    assert status == 500
    assert "error loading model" in answer["error"]
    async with client.get("/api/ps") as response:
        assert (await response.json())["models"] == []


@pytest.mark.parametrize("stream", [True, False])
async def test_a_reset_before_any_byte_is_a_lost_connection(
    simulator: Simulator, client: aiohttp.ClientSession, stream: bool
) -> None:
    simulator.fault(Fault(reset_after=0))
    with pytest.raises(aiohttp.ClientOSError, match="reset by peer"):
        await lines(client, GENERATE, stream=stream)
    (call,) = simulator.calls
    assert (call.outcome, call.first_byte, call.status) == ("reset", None, None)


@pytest.mark.parametrize("count", [1, 3, ANSWER_TOKENS])
async def test_a_reset_after_a_number_of_chunks(
    simulator: Simulator, client: aiohttp.ClientSession, count: int
) -> None:
    simulator.fault(Fault(reset_after=count))
    received = b""
    async with client.post("/api/generate", json=GENERATE) as response:
        with pytest.raises(aiohttp.ClientError):
            async for data in response.content.iter_any():
                received += data
    assert received.count(b"\n") == count
    assert (await ended(simulator.calls[0])).outcome == "reset"
    assert simulator.calls[0].chunks_sent == count


async def test_a_complete_response_is_reset_in_its_middle(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(reset_after=1))
    async with client.post("/api/embed", json=EMBED) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientError):
            await response.read()


async def test_an_error_line_ends_a_stream_normally(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(error_after=2, message="runner died"))
    made = await lines(client, GENERATE)
    assert [set(line) for line in made[:2]] == [{"model", "created_at", "response", "done"}] * 2
    assert made[2:] == [{"error": "runner died"}]
    await lines(client, GENERATE)
    assert simulator.calls[0].connection == simulator.calls[1].connection


async def test_an_error_in_a_complete_response_is_500(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(error_after=2, message="runner died"))
    assert await post(client, "/api/chat", CHAT | {"stream": False}) == (500, {"error": "runner died"})


async def test_a_response_can_end_without_done(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(end_after=4, times=2))
    made = await lines(client, CHAT)
    assert len(made) == 4
    assert not any(line["done"] for line in made)
    answer = await whole(client, CHAT)
    assert answer["done"] is False
    assert "eval_count" not in answer
    simulator.fault(Fault(end_after=0))
    assert await lines(client, CHAT) == []


async def test_a_stalled_stream_sends_nothing_more(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(stall_after=2))
    async with client.post("/api/generate", json=GENERATE) as response:
        received = [await response.content.readline(), await response.content.readline()]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.content.readany(), 0.1)
    assert all(line.endswith(b"\n") for line in received)


async def test_split_writes_cut_lines_and_characters(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    expected = await whole(client, GENERATE)
    simulator.fault(Fault(split_bytes=3))
    async with client.post("/api/generate", json=GENERATE) as response:
        pieces = [piece async for piece in response.content.iter_any()]
    assert max(map(len, pieces)) <= 12
    made = [json.loads(line) for line in b"".join(pieces).splitlines()]
    assert "".join(line["response"] for line in made) == expected["response"]

    def cut_in_a_character(piece: bytes) -> bool:
        try:
            piece.decode()
        except UnicodeDecodeError:
            return True
        return False

    assert any(map(cut_in_a_character, pieces))


async def test_merged_lines_arrive_together(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(merge=True, error_after=5))
    async with client.post("/api/generate", json=GENERATE) as response:
        first = await response.content.readany()
        rest = await response.content.read()
    assert (first + rest).count(b"\n") == 6
    assert first.count(b"\n") >= 5


@pytest.mark.parametrize("body", [GENERATE, CHAT])
@pytest.mark.parametrize("stream", [True, False])
async def test_the_last_line_can_be_padded(
    simulator: Simulator, client: aiohttp.ClientSession, body: dict[str, Any], stream: bool
) -> None:
    simulator.fault(Fault(line_bytes=2_000_000))
    made = await lines(client, body, stream=True) if stream else [await whole(client, body)]
    assert made[-1]["done"] is True
    assert len(json.dumps(made[-1], separators=(",", ":"))) >= 1_999_000
    assert set(made[-1]["context"]) == {12345}


async def test_a_connection_can_be_closed_after_its_response(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.fault(Fault(close_after_response=True))
    async with client.post("/api/embed", json=EMBED) as response:
        assert response.headers.get("Connection") != "close"
        await response.read()
    await asyncio.sleep(0.02)
    assert simulator.open_connections == 0
    assert simulator.calls[0].outcome == "completed"


async def test_only_requests_on_used_connections_are_dropped(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.fault(Fault(drop_reused=True))
    await whole(client, GENERATE)
    with pytest.raises(aiohttp.ClientOSError):
        await whole(client, GENERATE)
    await whole(client, GENERATE)
    await whole(client, GENERATE)
    assert [call.outcome for call in simulator.calls] == ["completed", "reset", "completed", "completed"]
    first, dropped, fresh, reused = (call.connection for call in simulator.calls)
    assert first == dropped != fresh == reused


async def test_bytes_that_are_not_http(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(garbage_status_line=True))
    with pytest.raises(aiohttp.ClientError):
        await whole(client, GENERATE)
    assert simulator.calls[0].outcome == "reset"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_truncated_body_is_a_payload_error(
    simulator: Simulator, client: aiohttp.ClientSession, stream: bool
) -> None:
    simulator.fault(Fault(truncate_body=True))
    with pytest.raises(aiohttp.ClientPayloadError):
        await lines(client, GENERATE, stream=stream)


async def test_faults_apply_to_metadata_paths_if_named(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(path="/api/version", hang=True))
    simulator.fault(Fault(path="/api/tags", truncate_body=True))
    with pytest.raises(TimeoutError):
        async with client.get("/api/version", timeout=aiohttp.ClientTimeout(total=0.05)):
            pass
    with pytest.raises(aiohttp.ClientPayloadError):
        async with client.get("/api/tags") as response:
            await response.read()


async def test_the_delay_precedes_the_response(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(delay_seconds=0.1))
    await whole(client, GENERATE)
    (call,) = simulator.calls
    assert call.first_byte is not None
    assert call.first_byte - call.started >= 0.09


# Start and stop


async def test_stop_aborts_open_streams_and_start_uses_the_same_port(simulator: Simulator) -> None:
    url = simulator.url
    async with aiohttp.ClientSession(url) as client:
        await whole(client, CHAT)
        simulator.fault(Fault(stall_after=1))
        reading = asyncio.create_task(lines(client, GENERATE))
        await simulator.received("/api/generate")
        began = time.perf_counter()
        await simulator.stop()
        assert time.perf_counter() - began < SOON
        with pytest.raises(aiohttp.ClientError):
            await reading
        assert simulator.calls[-1].outcome == "reset"
        with pytest.raises(aiohttp.ClientConnectorError):
            await whole(client, GENERATE)
        await simulator.start()
        assert simulator.url == url
        await whole(client, GENERATE)
    connections = [call.connection for call in simulator.calls]
    assert connections[-1] not in connections[:-1]


async def test_start_and_stop_can_be_repeated() -> None:
    simulator = Simulator()
    await simulator.stop()
    await simulator.start()
    port = simulator.port
    await simulator.start()
    assert simulator.port == port
    await simulator.stop()
    await simulator.stop()
    assert simulator.open_connections == 0


async def test_tokens_are_delayed_by_seconds_per_token() -> None:
    async with Simulator(seconds_per_token=0.01) as simulator, aiohttp.ClientSession(simulator.url) as client:
        began = time.perf_counter()
        await whole(client, GENERATE, options={"num_predict": 10})
        await lines(client, GENERATE, options={"num_predict": 10})
        assert time.perf_counter() - began >= 0.19


def run_simulator(port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "simulator", "--port", str(port), "--seconds-per-token", "0", "--load-seconds", "0"],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def test_the_command_prints_its_url_and_exits_on_sigterm() -> None:
    with run_simulator(0) as process:
        assert process.stderr is not None
        assert "SIMULATED OLLAMA" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""


def test_the_command_reports_a_port_in_use_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with run_simulator(port) as process:
            assert process.wait(10) == 1
            assert process.stderr is not None
            (line,) = process.stderr.read().splitlines()
    assert str(port) in line
    assert "the port is in use" in line


@pytest.mark.every_loop
@pytest.mark.parametrize("turns", range(8))
async def test_stopping_ends_a_connection_that_is_being_accepted(turns: int) -> None:
    simulator = Simulator()
    await simulator.start()
    with socket.create_connection(("127.0.0.1", simulator.port)) as client:
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(SOON):
            await simulator.stop()
        client.settimeout(SOON)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.to_thread(client.recv, 1) == b""

"""Parsing of requests, and the errors of invalid ones."""

import json
from typing import Any

import aiohttp
import pytest

from simulator import Simulator
from tests.simulator.requests import CHAT, EMBED, GENERATE, JSON, post, whole


async def test_field_names_are_case_insensitive_and_trailing_data_is_ignored(client: aiohttp.ClientSession) -> None:
    body = b'{"MODEL": "llama3.1", "Prompt": "x", "STREAM": false, "unknown": 1} trailing'
    async with client.post("/api/generate", data=body) as response:
        assert response.status == 200
        assert json.loads(await response.read())["done"] is True


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


async def test_floats_for_integer_options_are_truncated_and_unknown_options_ignored(
    client: aiohttp.ClientSession,
) -> None:
    answer = await whole(client, GENERATE, options={"num_predict": 2.7, "TEMPERATURE": "x", "seed": None})
    assert answer["eval_count"] == 2

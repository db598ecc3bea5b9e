"""Ollama's own API through the service, with the simulator and with a real Ollama."""

import json
import re
from typing import Any

import aiohttp
import pytest

from tests.api import PIXEL
from tests.integration.upstreams import Api

MODEL = "llama3.1"
SLOW_MODEL = "gpt-oss"
EMBEDDING_MODEL = "nomic-embed-text"
OPTIONS = {"seed": 7, "temperature": 0, "num_predict": 12}
MESSAGES = [{"role": "user", "content": "Say something."}]
VOLATILE = re.compile(rb'"(created_at|expires_at|\w+_duration|prompt_eval_count)":("[^"]*"|\d+),?')
BODIES: list[tuple[str, dict[str, Any]]] = [
    ("/api/chat", {"model": MODEL, "messages": MESSAGES, "options": OPTIONS}),
    ("/api/chat", {"model": MODEL, "messages": MESSAGES, "options": OPTIONS, "stream": False}),
    ("/api/generate", {"model": MODEL, "prompt": "Hi", "options": OPTIONS}),
    ("/api/generate", {"model": MODEL, "prompt": "Hi", "options": OPTIONS, "stream": False}),
    ("/api/generate", {"model": MODEL}),
    ("/api/embed", {"model": EMBEDDING_MODEL, "input": ["a trade", "a waiver"]}),
    ("/api/embeddings", {"model": EMBEDDING_MODEL, "prompt": "a trade"}),
    ("/api/show", {"model": MODEL}),
    ("/api/chat", {"model": "llama9", "messages": MESSAGES}),
    ("/api/show", {"model": "llama9"}),
    ("/api/embed", {"model": "llama9", "input": "a"}),
    ("/api/generate", {"model": MODEL, "prompt": "Hi", "options": {"temperature": "hot"}}),
    ("/api/chat", {"messages": "none"}),
    ("/api/chat", {}),
]


async def seen(api: Api, path: str, body: dict[str, Any]) -> tuple[int, str, bytes]:
    async with api.post(path, body, "text/event-stream") as response:
        return response.status, response.headers["Content-Type"], VOLATILE.sub(b"", await response.read())


@pytest.mark.parametrize(("path", "body"), BODIES)
async def test_a_response_is_the_one_of_ollama(service: Api, direct: Api, path: str, body: dict[str, Any]) -> None:
    await seen(direct, path, body)  # with the model loaded, and the prompt in its cache
    assert await seen(service, path, body) == await seen(direct, path, body)


async def test_a_capability_that_the_model_lacks_is_rejected_with_the_status_of_ollama(
    service: Api, direct: Api
) -> None:
    for api in (service, direct):
        async with api.post("/api/chat", {"model": MODEL, "messages": MESSAGES, "think": True}) as response:
            assert (response.status, list(await response.json())) == (400, ["error"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", {"messages": MESSAGES}),
        ("/api/chat", {"messages": MESSAGES, "logprobs": True, "top_logprobs": 2}),
        ("/api/chat", {"messages": MESSAGES, "format": {"type": "object", "properties": {"a": {"type": "integer"}}}}),
        ("/api/generate", {"prompt": "Hi", "logprobs": True}),
        ("/api/generate", {"prompt": ""}),
    ],
)
async def test_a_complete_response_can_be_joined_from_a_streamed_one(
    direct: Api, service: Api, path: str, body: dict[str, Any]
) -> None:
    """As the service does after a stream was cut off, which may leave the model hanging."""
    body = body | {"model": MODEL, "options": OPTIONS, "stream": False}
    expected = await lasting(direct, path, body)
    async with service.post("/api/generate", {"model": MODEL, "prompt": "Go on."}) as stream:
        await stream.content.readany()
        stream.close()
    assert await lasting(service, path, body) == expected


async def lasting(api: Api, path: str, body: dict[str, Any]) -> tuple[int, str, dict[str, Any]]:
    """Return a complete response without what differs from one to the next."""
    async with api.post(path, body, "text/event-stream") as response:
        document = await response.json()
        fields = {name: value for name, value in document.items() if not VOLATILE.match(f'"{name}":0,'.encode())}
        return response.status, response.headers["Content-Type"], fields


@pytest.mark.parametrize(
    ("fields", "capability"),
    [
        ({"messages": MESSAGES, "think": True}, "thinking"),
        ({"messages": [MESSAGES[0] | {"images": [PIXEL]}]}, "vision"),
        ({"messages": MESSAGES, "model": EMBEDDING_MODEL}, "completion"),
    ],
    ids=["thinking", "vision", "completion"],
)
async def test_a_request_that_the_model_cannot_serve_is_rejected(
    service: Api, fields: dict[str, Any], capability: str
) -> None:
    """Before 0.30, Ollama itself responds to an image as if it were not there."""
    async with service.get("/api/ollama/models/" + EMBEDDING_MODEL) as response:
        assert response.status == 200
    async with service.post("/api/chat", {"model": MODEL} | fields) as response:
        assert response.status == 400
        assert f"does not support {capability}" in (await response.json())["error"]


@pytest.mark.parametrize("data", [b"", b"{", b"[]"])
async def test_invalid_requests_are_rejected_by_ollama(
    client: aiohttp.ClientSession, service: Api, direct: Api, data: bytes
) -> None:
    answers = []
    for api in (service, direct):
        async with client.post(f"{api.url}/api/chat", data=data) as response:
            answers.append((response.status, response.headers["Content-Type"], await response.read()))
    assert answers[0] == answers[1]
    assert answers[0][0] == 400


async def test_the_model_list_is_the_one_of_ollama(service: Api, direct: Api) -> None:
    async with service.get("/api/tags") as one, direct.get("/api/tags") as other:
        assert one.status == 200
        assert by_name(await one.json()) == by_name(await other.json())
    async with service.get("/api/version") as one, direct.get("/api/version") as other:
        assert (one.status, await one.read()) == (200, await other.read())


def by_name(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the models in a stable order, which Ollama's list does not have."""
    return sorted(answer["models"], key=lambda model: str(model["name"]))


async def test_loaded_models_are_listed(service: Api) -> None:
    async with service.post("/api/generate", {"model": MODEL, "stream": False}) as response:
        assert (await response.json())["done_reason"] == "load"
    async with service.get("/api/ps") as response:
        assert f"{MODEL}:latest" in [model["name"] for model in (await response.json())["models"]]


async def test_a_stream_arrives_line_by_line(service: Api) -> None:
    body = {"model": SLOW_MODEL, "prompt": "Count.", "raw": True, "options": OPTIONS | {"num_predict": 200}}
    async with service.post("/api/generate", body) as response:
        assert response.headers["Content-Type"] == "application/x-ndjson"
        lines = (await response.read()).splitlines()
    assert [json.loads(line)["done"] for line in lines] == [False] * (len(lines) - 1) + [True]

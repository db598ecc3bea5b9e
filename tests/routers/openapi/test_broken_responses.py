"""Every response has a status, media type and schema of openapi.json, without additional fields."""

import json
from typing import Any

import aiohttp
import jsonschema_rs
import pytest
from pydantic import TypeAdapter

from main import create_app
from routers.schemas.health import HealthResponse
from routers.schemas.ollama_responses import ChatResponse, EmbeddingsResponse, GenerateResponse, ModelsResponse
from routers.schemas.problem import Problem
from simulator import Fault, Simulator
from tests.api import CHAT, EMBEDDINGS, GENERATE, PROBLEM, Answer, call, fault_id, openapi_document
from tests.conftest import MakeSettings
from tests.serving import serve
from tests.sse import EVENT_FORMS, events_in

TOOL = {"type": "function", "function": {"name": "score", "parameters": {"type": "object"}}}
SCORE = {"messages": [{"role": "user", "content": "What is the score?"}], "tools": [TOOL]}
SPARSE = Fault(body=b'{"model":"x","response":"Hi","done":true}')
SPARSE_MODELS = Fault(path="/api/tags", body=b'{"models":[{"name":"gpt-oss:latest"}]}', times=None)
HEALTH_DOWN = Fault(path="/api/version", status=500, times=None)

WHOLE: list[tuple[str, dict[str, Any] | None, type, Fault | None]] = [
    ("/api/ollama/generate", GENERATE, GenerateResponse, None),
    ("/api/ollama/generate", GENERATE | {"model": "gpt-oss", "max_tokens": 3}, GenerateResponse, None),
    ("/api/ollama/generate", GENERATE | {"model": "unknown", "format": "json"}, GenerateResponse, None),
    ("/api/ollama/generate", GENERATE, GenerateResponse, SPARSE),
    ("/api/ollama/chat", CHAT, ChatResponse, None),
    ("/api/ollama/chat", CHAT | {"model": "gpt-oss"}, ChatResponse, None),
    ("/api/ollama/chat", SCORE, ChatResponse, None),
    ("/api/ollama/embeddings", EMBEDDINGS, EmbeddingsResponse, None),
    ("/api/ollama/embeddings", {"text": ["a", "b"]}, EmbeddingsResponse, None),
    ("/api/ollama/embeddings", {"text": "a"}, EmbeddingsResponse, Fault(body=b'{"embeddings":[[1,0.5]]}')),
    ("/api/ollama/models", None, ModelsResponse, None),
    ("/api/ollama/models?force_refresh=true", None, ModelsResponse, SPARSE_MODELS),
    ("/health", None, HealthResponse, None),
    ("/health", None, HealthResponse, HEALTH_DOWN),
]
PROBLEMS: list[tuple[str, dict[str, Any] | None, Fault | None, int]] = [
    ("/api/ollama/generate", {}, None, 422),
    ("/api/ollama/chat", CHAT | {"x": 1}, None, 422),
    ("/api/ollama/embeddings", {"text": ""}, None, 422),
    ("/api/ollama/models?force_refresh=x", None, None, 422),
    ("/api/ollama/generate", GENERATE | {"model": "unknown", "fallback": False}, None, 404),
    ("/api/ollama/embeddings", {"text": "a", "model": "unknown"}, None, 404),
    ("/api/ollama/chat", CHAT | {"model": "nomic-embed-text"}, None, 400),
    ("/api/ollama/embeddings", EMBEDDINGS, Fault(status=400, message="no"), 400),
    ("/api/ollama/generate", GENERATE | {"stream": True}, Fault(body=b"<html>"), 502),
    ("/api/ollama/models?force_refresh=true", None, Fault(path="/api/tags", body=b"<html>"), 502),
    ("/api/ollama/models?force_refresh=true", None, Fault(path="/api/tags", status=503), 503),
    ("/api/ollama/chat", CHAT, Fault(status=429, message="busy", times=None), 503),
    ("/api/ollama/generate", GENERATE, Fault(hang=True), 504),
    ("/api/ollama/models?force_refresh=true", None, Fault(path="/api/tags", hang=True), 504),
    ("/api/ollama/generate", GENERATE | {"prompt": "x" * 20_000}, None, 413),
]


class Promises:
    """The OpenAPI document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def check(self, path: str, answer: Answer) -> None:
        """Check that the operation declares this response."""
        (operation,) = self._document["paths"][path.partition("?")[0]].values()
        documented = operation["responses"][str(answer.status)]
        assert answer.media_type in documented["content"]
        assert all(
            name in answer.headers
            for name, header in documented.get("headers", {}).items()
            if header.get("required", True)
        )
        if answer.media_type in {"application/json", PROBLEM}:
            self.check_shape(documented["content"][answer.media_type]["schema"], answer.json())

    def check_shape(self, schema: dict[str, Any], value: Any) -> None:
        """Check that a value satisfies a schema without additional fields."""
        components = {"components": self._document["components"]}
        closed = json.loads(json.dumps(schema | components), object_hook=_closed)
        jsonschema_rs.Draft202012Validator(closed).validate(value)


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties")
    if isinstance(properties, dict) and schema.get("type") == "object":
        return {"additionalProperties": False} | schema
    return schema


@pytest.fixture
def promised() -> Promises:
    return Promises(openapi_document())


async def ask(client: aiohttp.ClientSession, url: str, body: dict[str, Any] | None, accept: str = "*/*") -> Answer:
    method = "GET" if body is None else "POST"
    return await call(client, method, url, json=body, headers={"Accept": accept})


@pytest.mark.parametrize(("path", "body", "kind", "fault"), WHOLE, ids=fault_id)
async def test_whole_answer(
    client: aiohttp.ClientSession,
    url: str,
    promised: Promises,
    simulator: Simulator,
    path: str,
    body: dict[str, Any] | None,
    kind: type,
    fault: Fault | None,
) -> None:
    if fault is not None:
        simulator.fault(fault)
    answer = await ask(client, url + path, body)
    assert answer.status == (503 if fault is HEALTH_DOWN else 200)
    TypeAdapter(kind).validate_json(answer.body, strict=True, extra="forbid")
    promised.check(path, answer)


@pytest.mark.parametrize("accept", EVENT_FORMS)
@pytest.mark.parametrize(
    ("path", "body", "fault", "kinds"),
    [
        ("/api/ollama/generate", GENERATE | {"model": "gpt-oss"}, None, {"start", "thinking", "token", "done"}),
        ("/api/ollama/chat", SCORE | {"model": "llama3.1"}, None, {"start", "tool_call", "done"}),
        ("/api/ollama/chat", CHAT | {"model": "unknown"}, SPARSE, {"start", "token", "done"}),
        ("/api/ollama/generate", GENERATE, Fault(reset_after=2), {"start", "token", "error"}),
    ],
    ids=fault_id,
)
async def test_stream(
    client: aiohttp.ClientSession,
    url: str,
    promised: Promises,
    simulator: Simulator,
    accept: str,
    path: str,
    body: dict[str, Any],
    fault: Fault | None,
    kinds: set[str],
) -> None:
    if fault is not None:
        simulator.fault(fault)
    answer = await ask(client, url + path, body | {"stream": True}, accept)
    promised.check(path, answer)
    events = events_in(answer)
    assert {event["type"] for event in events} == kinds
    for event in events:
        promised.check_shape({"$ref": "#/components/schemas/StreamEvent"}, event)


@pytest.mark.parametrize(("path", "body", "fault", "status"), PROBLEMS, ids=fault_id)
async def test_problem(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    simulator: Simulator,
    path: str,
    body: dict[str, Any] | None,
    fault: Fault | None,
    status: int,
    promised: Promises,
) -> None:
    settings = make_settings(ollama_request_timeout=0.3, ollama_health_timeout=0.3, max_request_bytes=10_000)
    async with serve(create_app(settings)) as url:
        await simulator.received("/api/tags")
        await call(client, "POST", f"{simulator.url}/api/generate", json={"model": "llama3.1"})
        if fault is not None:
            simulator.fault(fault)
        answer = await ask(client, url + path, body)
    assert answer.status == status, answer.body
    TypeAdapter(Problem).validate_json(answer.body, strict=True, extra="forbid")
    promised.check(path, answer)

"""Calls to the service, with checks that apply to every response."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDictProxy
from yarl import URL

from config import Settings
from main import create_app
from simulator import Fault, Simulator
from tests.serving import serve

PROBLEM = "application/problem+json"
STATUSES = {
    "invalid_request": 422,
    "model_not_found": 404,
    "rejected_by_ollama": 400,
    "unsupported_parameter": 400,
    "unsupported_by_model": 400,
    "ollama_unavailable": 503,
    "ollama_busy": 503,
    "model_stuck": 503,
    "overloaded": 503,
    "shutting_down": 503,
    "timeout": 504,
    "ollama_error": 502,
    "unauthorized": 401,
    "not_offered": 403,
    "host_not_allowed": 421,
    "bad_request": 400,
    "request_timeout": 408,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    "headers_too_large": 431,
    "not_found": 404,
    "method_not_allowed": 405,
    "internal_error": 500,
}
NEVER_SHOWN = re.compile(r"\d+\.\d+\.\d+\.\d+|localhost|://|Traceback|<html|File \"", re.IGNORECASE)

GENERATE: dict[str, Any] = {"prompt": "Who should start this week?", "model": "llama3.1"}
CHAT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Who should start this week?"}],
    "model": "llama3.1",
}
EMBEDDINGS: dict[str, Any] = {"text": "a fantasy football league"}
GENERATE_PATH = "/api/ollama/generate"
BODY = json.dumps(GENERATE).encode()
JSON = {"Content-Type": "application/json"}
COMPLETIONS = [("generate", GENERATE), ("chat", CHAT)]
both = pytest.mark.parametrize(("endpoint", "body"), COMPLETIONS, ids=["generate", "chat"])
UPSTREAM_PATHS = {"generate": "/api/generate", "chat": "/api/chat"}
GETS = [
    "/health",
    "/health/live",
    "/health/ready",
    "/api/ollama/models",
    "/docs",
    "/redoc",
    "/openapi.json",
    "/",
    "/playground",
    "/assets/base.css",
    "/assets/vendor/swagger-ui/swagger-ui-bundle.js",
]
PIXEL = "iVBORw0KGgo="  # the beginning of a PNG image, in base64


def streamed(body: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a body that asks for a stream."""
    return body | {"stream": True} | fields


@dataclass(frozen=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def media_type(self) -> str:
        """Return the media type without its parameters."""
        return self.headers.get("Content-Type", "").partition(";")[0]

    def json(self) -> Any:
        """Return the JSON of the body."""
        return json.loads(self.body)


@cache
def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document with default settings; generating it takes a third of a second."""
    return create_app(Settings(_env_file=None)).openapi()


async def call(client: aiohttp.ClientSession, method: str, url: str | URL, **how: Any) -> Answer:
    """Send a request and read the complete response."""
    async with client.request(method, url, **how) as response:
        return Answer(response.status, response.headers, await response.read())


async def get(client: aiohttp.ClientSession, url: str, **how: Any) -> Answer:
    """Send a GET request."""
    return await call(client, "GET", url, **how)


async def post(
    client: aiohttp.ClientSession, url: str, endpoint: str, body: Any, accept: str | None = None, **how: Any
) -> Answer:
    """Send JSON to an endpoint, such as `generate`."""
    headers = how.pop("headers", {}) | ({"Accept": accept} if accept is not None else {})
    return await call(client, "POST", f"{url}/api/ollama/{endpoint}", json=body, headers=headers, **how)


async def succeed(client: aiohttp.ClientSession, url: str, endpoint: str, body: Any) -> dict[str, Any]:
    """Return the JSON of a response that must be a 200."""
    answer = await post(client, url, endpoint, body)
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == "application/json"
    document: dict[str, Any] = answer.json()
    assert document["success"] is True
    return document


def problem_in(answer: Answer, code: str) -> dict[str, Any]:
    """Return the problem document that the response must be."""
    assert answer.headers["Content-Type"] == PROBLEM, answer.body
    document: dict[str, Any] = answer.json()
    assert document["code"] == code, document
    assert answer.status == document["status"] == STATUSES[code]
    assert document["success"] is False
    assert document["type"]
    assert document["title"]
    assert document["detail"]
    assert isinstance(document["retryable"], bool)
    assert document["request_id"] == answer.headers["X-Request-ID"]
    assert ("Retry-After" in answer.headers) is (answer.status == 503)
    assert answer.status != 503 or int(answer.headers["Retry-After"]) >= 1
    assert not NEVER_SHOWN.search(answer.body.decode()), answer.body
    return document


@asynccontextmanager
async def serve_quietly(settings: Settings, simulator: Simulator) -> AsyncIterator[str]:
    """Serve the service without the request for Ollama's models at startup."""
    simulator.fault(Fault(path="/api/version", status=500))
    async with serve(create_app(settings)) as url:
        look = await simulator.received("/api/version")
        await look.ended_event.wait()
        simulator.calls.clear()
        yield url


def fault_id(value: object) -> str:
    """Return a short test id for a parameter; for a fault, its effect."""
    if isinstance(value, set):
        return ",".join(sorted(value))
    if not isinstance(value, Fault):
        return str(value)[:50]
    given = {field.name: getattr(value, field.name) for field in fields(value)}
    return ",".join(f"{name}={given[name]}"[:30] for name in given if given[name] != getattr(Fault(), name))

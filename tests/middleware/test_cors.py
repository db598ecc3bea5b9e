"""CORS headers of responses, errors and preflights."""

from typing import Any

import aiohttp
import pytest

from main import create_app
from routers.dependencies import get_ollama_service
from tests.api import GENERATE, call, get, post, problem_in
from tests.conftest import MakeSettings
from tests.middleware.conftest import ORIGIN
from tests.serving import serve


async def test_without_origins_there_are_no_cors_headers(client: aiohttp.ClientSession, url: str) -> None:
    answer = await get(client, f"{url}/api/ollama/models", headers={"Origin": ORIGIN})
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


async def test_a_preflight_needs_no_key(client: aiohttp.ClientSession, locked: str) -> None:
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, x-api-key, x-request-id",
    }
    answer = await call(client, "OPTIONS", f"{locked}/api/ollama/generate", headers=headers)
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    assert all(name in allowed for name in ("authorization", "content-type", "x-api-key", "x-request-id"))
    assert answer.headers["X-Request-ID"]


@pytest.mark.parametrize("key", ["first-key", "wrong"])
async def test_responses_and_errors_have_cors_headers(client: aiohttp.ClientSession, locked: str, key: str) -> None:
    answer = await post(client, locked, "generate", GENERATE, headers={"Origin": ORIGIN, "X-API-Key": key})
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    exposed = answer.headers["Access-Control-Expose-Headers"].lower()
    assert all(name in exposed for name in ("x-request-id", "x-model", "x-model-fallback", "retry-after"))


async def test_another_origin_is_not_allowed(client: aiohttp.ClientSession, locked: str) -> None:
    theirs = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = await call(client, "OPTIONS", f"{locked}/api/ollama/generate", headers=theirs)
    assert answer.status == 400
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_500_has_cors_headers(client: aiohttp.ClientSession, make_settings: MakeSettings) -> None:
    def broken() -> None:
        raise RuntimeError("a secret")

    app = create_app(make_settings(cors_origins=(ORIGIN,)))
    app.dependency_overrides[get_ollama_service] = broken
    async with serve(app) as url:
        answer = await get(client, f"{url}/api/ollama/models", headers={"Origin": ORIGIN})
    problem_in(answer, "internal_error")
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "X-Request-ID" in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize(
    ("method", "path", "how", "status"),
    [
        ("POST", "/api/ollama/generate", {}, 401),
        ("POST", "/api/ollama/generate", {"data": b"x" * 2000, "headers": {"X-API-Key": "right"}}, 413),
        ("POST", "/api/ollama/generate", {"data": b"{", "headers": {"X-API-Key": "right"}}, 422),
        (
            "POST",
            "/api/ollama/generate",
            {"data": b"x", "headers": {"X-API-Key": "right", "Content-Encoding": "br"}},
            415,
        ),
        ("GET", "/nowhere", {"headers": {"X-API-Key": "right"}}, 404),
        ("DELETE", "/health", {}, 405),
    ],
)
async def test_every_error_has_cors_headers(
    client: aiohttp.ClientSession, make_settings: MakeSettings, method: str, path: str, how: Any, status: int
) -> None:
    settings = make_settings(api_keys="right", cors_origins=(ORIGIN,), max_request_bytes=1000)
    headers = {"Origin": ORIGIN} | how.get("headers", {})
    async with serve(create_app(settings)) as url:
        answer = await call(client, method, url + path, **(how | {"headers": headers}))
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, ORIGIN)

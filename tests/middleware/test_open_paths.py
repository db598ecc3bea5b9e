"""Paths that need no API key, and other spellings of them, which do."""

import asyncio
from typing import Any

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Message

from main import create_app
from tests.api import (
    GETS,
    call,
    get,
)
from tests.conftest import MakeSettings
from tests.raw_http import connect
from tests.serving import serve

CLOSED = [
    "/api/ollama/models",
    "/api/ollama/models/",
    "//api/ollama/models",
    "/api//ollama/models",
    "/API/ollama/models",
    "/health/../api/ollama/models",
    "/health/%2e%2e/api/ollama/models",
    "/api%2Follama/models",
    "/%61pi/ollama/models",
    "/assets",
    "/healthz",
    "/health/live/x",
    "/docs/x",
    "/metrics/x",
    "/v1/models",
    "/api/tags",
    "/nowhere",
    "*",
]


@pytest.mark.parametrize("path", CLOSED)
async def test_paths_require_a_key_unless_listed_as_open(locked: str, path: str) -> None:
    for method in ("GET", "HEAD", "POST", "OPTIONS", "QUERY"):
        async with connect(locked) as connection:
            head = f"{method} {path} HTTP/1.1\r\nHost: service\r\nContent-Length: 0\r\n\r\n"
            await connection.send(head.encode())
            assert (await connection.answer(to_head=method == "HEAD")).status == 401, method


@pytest.mark.parametrize("path", [*GETS, "/health/", "/health/live/", "/docs/"])
async def test_probes_and_pages_require_no_key(client: aiohttp.ClientSession, locked: str, path: str) -> None:
    for method in ("GET", "HEAD"):
        expected = 401 if path.startswith("/api/") else 200
        assert (await call(client, method, locked + path)).status == expected


@pytest.mark.parametrize("path", ["/assets/../api/ollama/models", "/assets/%2e%2e/api/ollama/models", "/assets//etc"])
async def test_an_open_folder_does_not_open_other_paths(locked: str, path: str) -> None:
    async with connect(locked) as connection:
        await connection.send(f"GET {path} HTTP/1.1\r\nHost: service\r\n\r\n".encode())
        assert (await connection.answer()).status == 404


async def test_a_disabled_page_requires_a_key(client: aiohttp.ClientSession, make_settings: MakeSettings) -> None:
    settings = make_settings(api_keys="right", docs_enabled=False, playground_enabled=False)
    async with serve(create_app(settings)) as url:
        for path in ("/docs", "/redoc", "/openapi.json", "/playground"):
            assert (await get(client, url + path)).status == 401
            assert (await get(client, url + path, headers={"X-API-Key": "right"})).status == 404
        assert (await get(client, url)).status == 200


async def ask(app: ASGIApp, path: str, root_path: str, kind: str = "http", key: str = "") -> Any:
    """Send an ASGI request directly; return its status, or the close code of a WebSocket."""
    sent: list[Message] = []
    scope = {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "root_path": root_path,
        "query_string": b"",
        "headers": [(b"x-api-key", key.encode())] if key else [],
        "scheme": "http",
        "server": ("service", 80),
        "client": ("client", 1),
        "state": {},
    }

    messages: list[Message] = [{"type": "websocket.connect" if kind == "websocket" else "http.request"}]

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()  # a client that stays connected
        return messages.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0].get("status", sent[0]["type"])


ROOTS = [
    ("", ""),
    ("/a", ""),  # cutting by length would leave `pi/ollama/models`
    ("/api", ""),
    ("/ai", "/ai"),
    ("/ai", ""),
    ("/api/ollama", ""),
    ("/health", ""),
    ("/health", "/health"),
    ("/docs", "/docs"),
]


@pytest.mark.parametrize(("root_path", "prefix"), ROOTS)
async def test_the_key_check_parses_paths_like_the_router(
    make_settings: MakeSettings, root_path: str, prefix: str
) -> None:
    app = create_app(make_settings(api_keys="right"))
    for path in [*GETS, "/api/ollama/generate"]:
        status = await ask(app, prefix + path, root_path)
        with_key = await ask(app, prefix + path, root_path, key="right")
        assert status in {401, with_key}
        if path.startswith("/api/"):
            assert status == 401
        if prefix == root_path:
            assert with_key == (405 if path == "/api/ollama/generate" else 200)
    await app.state.ollama_service.disconnect()


async def test_a_websocket_requires_a_key(make_settings: MakeSettings) -> None:
    app = create_app(make_settings(api_keys="right"))
    assert await ask(app, "/ws", "", kind="websocket") == "websocket.close"


async def test_a_mounted_service_requires_keys(client: aiohttp.ClientSession, make_settings: MakeSettings) -> None:
    app = create_app(make_settings(api_keys="right"))
    for prefix in ("/a", "/api", "/health"):
        async with serve(Starlette(routes=[Mount(prefix, app)])) as url:
            assert (await get(client, f"{url}{prefix}/api/ollama/models")).status == 401
            assert (await get(client, f"{url}{prefix}/api/ollama/models", headers={"X-API-Key": "right"})).status == 200
            assert (await get(client, f"{url}{prefix}/health/live")).status == 200
            assert (await get(client, f"{url}{prefix}/")).status == 200
    await app.state.ollama_service.disconnect()

"""Methods, paths, API keys, CORS and path prefixes."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from yarl import URL

from main import create_app
from routers.dependencies import get_ollama_service
from routers.responses.problems import NO_SUCH_PATH
from tests.api import CHAT, COMPLETIONS, EMBEDDINGS, call, get, post, problem_in, succeed
from tests.conftest import MakeSettings
from tests.raw_http import connect
from tests.service_process import free_port
from tests.serving import serve

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
POSTS = [*COMPLETIONS, ("embeddings", EMBEDDINGS)]
VOLATILE = {"date", "x-request-id"}
ORIGIN = "https://app.example"


# Methods


@pytest.mark.parametrize("path", GETS)
async def test_head_has_the_headers_of_get_and_no_body(client: aiohttp.ClientSession, url: str, path: str) -> None:
    whole = await get(client, url + path)
    async with connect(url) as connection:
        for _ in range(2):
            await connection.send(f"HEAD {path} HTTP/1.1\r\nHost: service\r\nAccept-Encoding: gzip\r\n\r\n".encode())
            answer = await connection.answer(to_head=True)
            assert answer.status == whole.status == 200
            names = {name.lower() for name in whole.headers}
            assert answer.headers.keys() == names
            assert int(answer.headers["content-length"]) > 0
            if path not in {"/health", "/api/ollama/models"}:  # whose bodies contain times
                assert answer.headers["content-length"] == str(len(whole.body))
        await connection.send(b"GET /health/live HTTP/1.1\r\nHost: service\r\n\r\n")
        assert (await connection.answer()).json() == {"alive": True}


@pytest.mark.parametrize("path", ["/nowhere", "/api/ollama/generate"])
async def test_head_has_the_error_status_of_get(client: aiohttp.ClientSession, url: str, path: str) -> None:
    assert (await call(client, "HEAD", url + path)).status == (await get(client, url + path)).status


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("OPTIONS", "/health", "GET, HEAD"),
        ("DELETE", "/api/ollama/models", "GET, HEAD"),
        ("OPTIONS", "/api/ollama/generate", "POST"),
        ("GET", "/api/ollama/chat", "POST"),
        ("HEAD", "/api/ollama/embeddings", "POST"),
        ("PUT", "/api/ollama/chat/", "POST"),
        ("POST", "/", "GET, HEAD"),
        ("PATCH", "/docs", "GET, HEAD"),
        ("TRACE", "/openapi.json", "GET, HEAD"),
    ],
)
async def test_a_405_names_the_allowed_methods(
    client: aiohttp.ClientSession, url: str, method: str, path: str, allow: str
) -> None:
    answer = await call(client, method, url + path)
    assert (answer.status, answer.headers["Allow"]) == (405, allow)
    if method != "HEAD":
        detail = f"The path does not support this method, only {allow.replace(', ', ' and ')}."
        assert problem_in(answer, "method_not_allowed")["detail"] == detail


@pytest.mark.parametrize("path", ["/nowhere", "/api/ollama/nowhere", "/assets/nowhere.css"])
async def test_a_404_says_where_the_paths_are_listed(client: aiohttp.ClientSession, url: str, path: str) -> None:
    document = problem_in(await get(client, url + path), "not_found")
    assert document["detail"] == NO_SUCH_PATH


# Paths


@pytest.mark.parametrize("path", ["/api/ollama/models/", "/health/", "/health/live/", "/openapi.json/"])
async def test_a_trailing_slash_is_ignored(client: aiohttp.ClientSession, url: str, path: str) -> None:
    for method in ("GET", "HEAD"):
        assert (await call(client, method, url + path, allow_redirects=False)).status == 200


@pytest.mark.parametrize(("endpoint", "body"), POSTS)
async def test_a_trailing_slash_is_ignored_for_post(
    client: aiohttp.ClientSession, make_settings: MakeSettings, endpoint: str, body: Any
) -> None:
    app, overridden = create_app(make_settings()), create_app(make_settings())
    overridden.dependency_overrides[get_ollama_service] = lambda: overridden.state.ollama_service
    for one in (app, overridden):
        async with serve(one) as url:
            await succeed(client, url, f"{endpoint}/", body)


@pytest.mark.parametrize("path", ["/docs/", "/redoc/", "/playground/"])
async def test_a_page_with_a_trailing_slash_is_redirected(client: aiohttp.ClientSession, url: str, path: str) -> None:
    answer = await get(client, url + path, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (308, f"..{path.rstrip('/')}")
    assert (await get(client, url + path)).status == 200


@pytest.mark.parametrize("path", ["//", "/health//", "//health", "/HEALTH", "/health/.", "/x/../health", "/nowhere/"])
async def test_other_spellings_of_a_path_are_404(client: aiohttp.ClientSession, url: str, path: str) -> None:
    problem_in(await get(client, URL(url + path, encoded=True)), "not_found")  # type: ignore[arg-type]


# Keys


@pytest.fixture
async def locked(make_settings: MakeSettings) -> AsyncIterator[str]:
    """The service with an API key and CORS."""
    async with serve(create_app(make_settings(api_keys="right", cors_origins=(ORIGIN,)))) as url:
        yield url


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


# CORS


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


# Prefixes

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
NGINX_CONFIG = """
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log; events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/b; proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f;
    uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    server {{ listen 127.0.0.1:{port}; location /ai/ {{ proxy_pass {upstream}/; proxy_buffering off; }} }}
}}
"""


@asynccontextmanager
async def nginx(upstream: str, directory: Path) -> AsyncIterator[str]:
    """Run nginx as a proxy of an upstream under `/ai/`."""
    assert NGINX is not None
    port = free_port()
    config = directory / "nginx.conf"
    config.write_text(NGINX_CONFIG.format(directory=directory, port=port, upstream=upstream))
    user = ["-g", "user root;"] if os.getuid() == 0 else []
    command = [NGINX, "-c", str(config), "-p", str(directory), *user]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(10):
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                await asyncio.sleep(0.02)
        yield f"http://127.0.0.1:{port}/ai"
    finally:
        process.terminate()
        await process.wait()


async def check_everything_is_inside(client: aiohttp.ClientSession, base: str) -> None:
    """Request the assets of the pages and the paths of openapi.json, as a browser does."""
    for path in ("/", "/docs", "/redoc", "/playground"):
        answer = await get(client, base + path)
        assert answer.status == 200
        assert b'"/' not in answer.body.replace(b'type="image/svg+xml"', b"")
    description = URL(f"{base}/openapi.json")
    answer = await get(client, str(description))
    (server,) = answer.json()["servers"]
    root = description.join(URL(server["url"]))
    assert str(root) == f"{base}/"
    assert (await get(client, str(root.join(URL("api/ollama/models"))))).status == 200
    assert (await post(client, base, "chat", CHAT)).status == 200
    assert (await get(client, f"{base}/docs/")).status == 200


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
async def test_pages_work_behind_a_proxy_with_a_prefix(client: aiohttp.ClientSession, url: str, tmp_path: Path) -> None:
    async with nginx(url, tmp_path) as base:
        await check_everything_is_inside(client, base)


async def test_the_service_works_mounted_under_a_prefix(
    client: aiohttp.ClientSession, make_settings: MakeSettings
) -> None:
    app = create_app(make_settings())
    async with serve(Starlette(routes=[Mount("/ai", app)])) as url:
        await check_everything_is_inside(client, f"{url}/ai")
    await app.state.ollama_service.disconnect()


async def test_a_server_may_set_root_path(client: aiohttp.ClientSession, make_settings: MakeSettings) -> None:
    app = create_app(make_settings())

    async def with_root_path(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "root_path": "/ai"}
        await app(scope, receive, send)

    async with serve(with_root_path) as url:
        answer = await get(client, f"{url}/openapi.json")
        assert answer.json()["servers"] == [{"url": "./"}]
        await check_everything_is_inside(client, url)
        await check_everything_is_inside(client, f"{url}/ai")

"""Allowed and rejected `Host` headers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr
from starlette.types import Receive, Scope, Send

from main import create_app
from middleware.allowed_hosts import LOCAL_HOSTS, MAX_CACHED_HEADERS, AllowedHostsMiddleware
from simulator import Simulator
from tests.api import GENERATE, get, post, problem_in
from tests.conftest import MakeSettings
from tests.serving import serve

LOOPBACK = ["localhost", "LOCALHOST:8000", "app.localhost:3000", "127.0.0.1", "127.0.0.1:8000", "[::1]", "[::1]:8000"]
LOOPBACK += ["localhost.", "localhost.:8000", "localhost:", "host.docker.internal", "my_service"]
OTHERS = [
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "evil.local.example",
    "127.0.0.1.evil.example",
    "10.0.0.1",
]
OTHERS += [
    "evil.example:127.0.0.1",
    "[::2]:8000",
    "",
    ":8000",
    "localhost@evil.example",
    "localhost,evil.example",
    "[::1].evil",
]


async def status(url: str, request: str) -> int:
    """Send a raw request, and return the status of the response."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write((request + "\r\nConnection: close\r\n\r\n").encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.split()[1])


async def status_for(url: str, host: str, path: str = "/api/ollama/models") -> int:
    return await status(url, f"GET {path} HTTP/1.1\r\nHost: {host}")


@asynccontextmanager
async def served(make_settings: MakeSettings, **values: Any) -> AsyncIterator[str]:
    async with serve(create_app(make_settings(**values))) as url:
        yield url


@pytest.mark.parametrize("host", LOOPBACK)
async def test_without_keys_local_names_are_allowed(url: str, host: str) -> None:
    assert await status_for(url, host) == 200


@pytest.mark.parametrize("host", OTHERS)
async def test_without_keys_other_names_are_rejected(url: str, host: str) -> None:
    assert await status_for(url, host) == 421


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/playground", "/health", "/api/ollama/models", "/no"])
async def test_every_route_rejects_a_rebound_name(url: str, path: str) -> None:
    assert await status_for(url, "evil.example", path) == 421


async def test_a_rejected_host_gets_a_problem_document_and_nothing_goes_upstream(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    answer = await post(client, url, "generate", GENERATE, headers={"Host": "evil.example"})
    assert "ALLOWED_HOSTS" in problem_in(answer, "host_not_allowed")["detail"]
    assert not simulator.calls_to("/api/generate")


async def test_a_request_without_host_is_allowed(url: str) -> None:
    assert await status(url, "GET /health/live HTTP/1.0") == 200


async def test_of_several_hosts_all_must_be_allowed(url: str) -> None:
    for hosts in (["localhost", "evil.example"], ["evil.example", "localhost"]):
        lines = "\r\n".join(f"Host: {host}" for host in hosts)
        assert await status(url, f"GET /health/live HTTP/1.1\r\n{lines}") in {400, 421}


@pytest.mark.parametrize(
    "values",
    [{"allowed_hosts": ("*",)}, {"allowed_hosts": ("localhost", "*")}, {"host": "0.0.0.0"}, {"host": "::"}],
)
async def test_any_name_is_allowed(make_settings: MakeSettings, values: dict[str, Any]) -> None:
    async with served(make_settings, **values) as url:
        assert await status_for(url, "any.example") == 200


async def test_with_keys_any_name_is_allowed(make_settings: MakeSettings) -> None:
    async with served(make_settings, api_keys=(SecretStr("a-key"),)) as url:
        assert await status_for(url, "any.example", "/health/live") == 200
        assert await status_for(url, "any.example") == 401


async def test_only_configured_names_are_allowed(make_settings: MakeSettings) -> None:
    async with served(make_settings, allowed_hosts=("api.example", "*.app.example", "::1"), host="0.0.0.0") as url:
        for host in ("api.example", "API.example:80", "a.app.example", "a.b.app.example", "[::1]:8000"):
            assert await status_for(url, host) == 200
        for host in ("app.example", "evil-app.example", "localhost", "10.0.0.1", "api.example.evil.example"):
            assert await status_for(url, host) == 421


async def test_health_checks_by_ip_address_are_allowed(make_settings: MakeSettings) -> None:
    async with served(make_settings, allowed_hosts=("api.example",), host="0.0.0.0") as url:
        for path in ("/health", "/health/ready", "/health/live"):
            assert await status_for(url, "10.42.0.7:8000", path) == 200
            assert await status_for(url, "[fd00::7]:8000", path) == 200
            assert await status_for(url, "evil.example", path) == 421


async def test_a_page_of_a_rebound_name_gets_no_cors_headers(
    client: aiohttp.ClientSession, make_settings: MakeSettings
) -> None:
    async with served(make_settings, cors_origins=("https://app.example",)) as url:
        headers = {"Host": "evil.example", "Origin": "https://app.example"}
        answer = await get(client, f"{url}/health/live", headers=headers)
    problem_in(answer, "host_not_allowed")
    assert "Access-Control-Allow-Origin" not in answer.headers


async def check(hosts: list[bytes], server: tuple[str, int | None] | None) -> int:
    """Return the status for a request that arrived at an address of the server; 200 if it passed."""
    found = [200]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])

    async def receive() -> Any:
        raise AssertionError

    scope = {"type": "http", "path": "/", "headers": [(b"host", host) for host in hosts], "server": server}
    middleware = AllowedHostsMiddleware(app, LOCAL_HOSTS, local_only=True)
    await middleware(scope, receive, send)
    return found[-1]


async def test_the_default_only_checks_requests_to_loopback() -> None:
    for server in (("10.0.0.1", 8000), ("testserver", 80), ("/run/service.sock", None), None):
        assert await check([b"any.example"], server) == 200
    for server in (("127.0.0.1", 8000), ("127.1.2.3", 8000), ("::1", 8000)):
        assert await check([b"127.1.2.3:8000"], server) == 200
        assert await check([b"any.example"], server) == 421


async def test_the_cache_of_allowed_headers_is_bounded() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    middleware = AllowedHostsMiddleware(app, ["*.example"])
    none: Any = None
    for number in range(MAX_CACHED_HEADERS + 50):
        headers = [(b"accept", b"*/*"), (b"host", b"%d.example" % number)]
        await middleware({"type": "http", "path": "/", "headers": headers}, none, none)
    assert len(middleware._allowed_headers) == MAX_CACHED_HEADERS  # noqa: SLF001 - a bound that nothing outside shows

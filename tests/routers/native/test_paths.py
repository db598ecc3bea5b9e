"""Ollama's own API: paths and methods that are not offered, and requests that the service rejects."""

import aiohttp
import pytest

from main import create_app
from simulator import Simulator
from tests.api import call, get
from tests.conftest import MakeSettings
from tests.kinds import NATIVES, Kind, see
from tests.raw_http import connect, post_head
from tests.routers.native.requests import CONTROL, error_in, every_kind
from tests.serving import serve

MANAGEMENT_PATHS = [
    ("POST", "/api/pull"),
    ("POST", "/api/push"),
    ("POST", "/api/create"),
    ("POST", "/api/copy"),
    ("DELETE", "/api/delete"),
    ("POST", "/api/blobs/sha256:29fdb92e57cf0827ded04ae6461b5931d01fa595843f55d36f5b275a52087dd2"),
    ("HEAD", "/api/blobs/sha256:29fdb92e57cf0827ded04ae6461b5931d01fa595843f55d36f5b275a52087dd2"),
]


# Other paths and methods


@pytest.mark.parametrize(("method", "path"), MANAGEMENT_PATHS)
async def test_management_endpoints_are_403(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, method: str, path: str
) -> None:
    answer = await call(client, method, url + path, json={"model": "llama3.1"})
    assert answer.status == 403
    assert answer.headers["Content-Type"] == "application/json"
    if method != "HEAD":
        assert "does not manage models" in error_in(answer.body)
    assert simulator.calls_to(path) == []


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/status", "/api/chats", "/api/chat/more", "/api/me"])
async def test_other_paths_list_the_available_endpoints(client: aiohttp.ClientSession, url: str, path: str) -> None:
    answer = await get(client, url + path)
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/json")
    assert "POST /api/chat" in error_in(answer.body)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", "/api/chat", "POST"), ("POST", "/api/tags", "GET, HEAD"), ("DELETE", "/api/embed", "POST")],
)
async def test_other_methods(client: aiohttp.ClientSession, url: str, method: str, path: str, allow: str) -> None:
    answer = await call(client, method, url + path)
    assert (answer.status, answer.headers["Allow"]) == (405, allow)
    assert error_in(answer.body)


@pytest.mark.parametrize("path", ["/api/ollama/nowhere", "/api/ollama", "/nowhere", "/apis/chat"])
async def test_errors_on_other_paths_are_problem_documents(client: aiohttp.ClientSession, url: str, path: str) -> None:
    answer = await get(client, url + path)
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/problem+json")


async def test_head_of_the_root(client: aiohttp.ClientSession, url: str) -> None:
    answer = await call(client, "HEAD", url)
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("prefix", ["", "/backend"])
async def test_the_error_format_under_a_prefix(
    make_settings: MakeSettings, client: aiohttp.ClientSession, prefix: str
) -> None:
    app = create_app(make_settings())
    app.root_path = prefix
    async with serve(app) as url:
        assert "path does not exist" in error_in((await get(client, f"{url}{prefix}/api/nowhere")).body)
        assert (await get(client, f"{url}{prefix}/api/tags")).status == 200


async def test_the_api_can_be_disabled(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    async with serve(create_app(make_settings(ollama_api_enabled=False))) as url:
        for kind in NATIVES:
            seen = await see(kind.ask(client, url))
            assert seen.status == 404
            assert "OLLAMA_API_ENABLED" in error_in(seen.body)
        for method, path in (*CONTROL, *MANAGEMENT_PATHS):
            assert (await call(client, method, url + path)).status == 404
        assert (await get(client, f"{url}/api/ollama/models")).status == 200
        assert "/api/chat" not in (await get(client, f"{url}/openapi.json")).json()["paths"]
    assert {seen.path for seen in simulator.calls} <= {"/api/tags", "/api/version"}


# Rejected by the service


async def test_api_keys_are_required(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    paths = (
        [("POST", f"/api/{kind.path}") for kind in NATIVES]
        + CONTROL
        + MANAGEMENT_PATHS
        + [("GET", "/api/nowhere"), ("GET", "/api/")]
    )
    async with serve(create_app(make_settings(api_keys="correct-horse"))) as url:
        await simulator.received("/api/tags")  # at startup
        before = len(simulator.calls)
        for method, path in paths:
            for headers in ({}, {"Authorization": "Bearer wrong"}):
                answer = await call(client, method, url + path, headers=headers)
                assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
                if method != "HEAD":
                    assert "API key" in error_in(answer.body)
        assert len(simulator.calls) == before
        for headers in ({"Authorization": "Bearer correct-horse"}, {"X-API-Key": "correct-horse"}):
            answer = await call(client, "POST", f"{url}/api/chat", json=NATIVES[0].body, headers=headers)
            assert answer.status == 200
        assert (await call(client, "HEAD", url)).status == 200


@every_kind
async def test_bodies_are_limited(make_settings: MakeSettings, client: aiohttp.ClientSession, kind: Kind) -> None:
    async with serve(create_app(make_settings(max_request_bytes=1000))) as url:
        seen = await see(kind.ask(client, url, more="x" * 1000))
        assert seen.status == 413
        assert "MAX_REQUEST_BYTES" in error_in(seen.body)


async def test_a_body_that_does_not_arrive_is_408(make_settings: MakeSettings, client: aiohttp.ClientSession) -> None:
    del client
    async with serve(create_app(make_settings(request_body_timeout=0.1))) as url, connect(url) as connection:
        await connection.send(post_head("/api/chat", length=100) + b'{"model"')
        answer = await connection.answer()
    assert answer.status == 408
    assert "REQUEST_BODY_TIMEOUT" in error_in(answer.body)

"""Errors in OpenAI's format under `/v1`."""

from typing import NoReturn

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from main import create_app
from routers.dependencies import get_ollama_service
from simulator import Fault, Simulator
from tests.api import call, get, problem_in
from tests.conftest import MakeSettings
from tests.openai_api import CHAT, STREAMED, ask, error_in
from tests.serving import serve


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(status=500), "ollama_error"),
        (Fault(status=503, times=None), "ollama_busy"),
        (Fault(status=429, times=None), "ollama_busy"),
        (Fault(status=400, message="no"), "rejected_by_ollama"),
        (Fault(body=b"<html>"), "ollama_error"),
        (Fault(hang=True), "timeout"),
    ],
    ids=["500", "503", "429", "400", "garbage", "hang"],
)
@pytest.mark.parametrize("body", [CHAT, STREAMED], ids=["whole", "streamed"])
async def test_failures_of_ollama_have_openais_format(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    simulator: Simulator,
    fault: Fault,
    code: str,
    body: dict[str, object],
) -> None:
    simulator.fault(fault)
    async with serve(create_app(make_settings(ollama_request_timeout=0.3))) as url:
        error_in(await ask(client, url, "chat/completions", body), code)


async def test_an_unreachable_ollama_is_503(client: aiohttp.ClientSession, make_settings: MakeSettings) -> None:
    settings = make_settings(ollama_base_url="http://127.0.0.1:1", ollama_retry_attempts=2)
    async with serve(create_app(settings)) as url:
        for endpoint, body in [("chat/completions", CHAT), ("embeddings", {"input": "a"})]:
            error_in(await ask(client, url, endpoint, body), "ollama_unavailable")
        error_in(await get(client, f"{url}/v1/models"), "ollama_unavailable")
        error_in(await get(client, f"{url}/v1/models/gpt-oss"), "ollama_unavailable")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1"),
        ("GET", "/v1/"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/audio/speech"),
        ("DELETE", "/v1/files/1"),
    ],
)
async def test_unknown_paths_list_the_available_endpoints(
    client: aiohttp.ClientSession, url: str, method: str, path: str
) -> None:
    message = error_in(await call(client, method, url + path), "not_found")
    for offered in ("/v1/models", "/v1/chat/completions", "/v1/embeddings"):
        assert offered in message


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/responses/resp_1"])
async def test_the_responses_api_error_points_to_chat_completions(
    client: aiohttp.ClientSession, url: str, path: str
) -> None:
    message = error_in(await call(client, "POST", url + path), "not_found")
    assert "/v1/chat/completions" in message
    assert ".chat(" in message


async def test_other_paths_have_problem_documents(client: aiohttp.ClientSession, url: str) -> None:
    for path in ("/v1x", "/v", "/api/ollama/v1/models"):
        problem_in(await get(client, url + path), "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("PUT", "/v1/embeddings", "POST"),
        ("POST", "/v1/models", "GET"),
        ("DELETE", "/v1/models/gpt-oss", "GET"),
    ],
)
async def test_a_405_names_the_allowed_methods(
    client: aiohttp.ClientSession, url: str, method: str, path: str, allowed: str
) -> None:
    answer = await call(client, method, url + path)
    error_in(answer, "method_not_allowed")
    assert allowed in answer.headers["Allow"]


@pytest.mark.parametrize("path", ["models", "models/gpt-oss", "chat/completions", "embeddings", "nothing"])
async def test_a_missing_key_is_401(client: aiohttp.ClientSession, make_settings: MakeSettings, path: str) -> None:
    async with serve(create_app(make_settings(api_keys="correct-horse"))) as url:
        answer = await get(client, f"{url}/v1/{path}")
        error_in(answer, "unauthorized")
        assert answer.json()["error"]["type"] == "authentication_error"
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        allowed = await get(client, f"{url}/v1/models", headers={"Authorization": "Bearer correct-horse"})
        assert allowed.status == 200


async def test_a_body_that_is_too_large_is_413(client: aiohttp.ClientSession, make_settings: MakeSettings) -> None:
    async with serve(create_app(make_settings(max_request_bytes=100))) as url:
        error_in(await ask(client, url, "chat/completions", CHAT | {"user": "x" * 100}), "payload_too_large")


@pytest.mark.parametrize(
    ("header", "code"),
    [({"Host": "rebound.example"}, "host_not_allowed"), ({"Content-Encoding": "br"}, "unsupported_media_type")],
)
async def test_errors_of_the_middleware_have_openais_format(
    client: aiohttp.ClientSession, url: str, header: dict[str, str], code: str
) -> None:
    error_in(await ask(client, url, "chat/completions", CHAT, headers=header), code)


@pytest.mark.parametrize("prefix", ["", "/ai"])
async def test_the_error_format_is_the_same_under_a_prefix(
    client: aiohttp.ClientSession, make_settings: MakeSettings, prefix: str
) -> None:
    app = create_app(make_settings())
    async with serve(Starlette(routes=[Mount(prefix, app)])) as url:
        error_in(await get(client, f"{url}{prefix}/v1/nothing"), "not_found")
        problem_in(await get(client, f"{url}{prefix}/api/ollama/nothing"), "not_found")
    await app.state.ollama_service.disconnect()


async def test_a_bug_is_not_shown(client: aiohttp.ClientSession, make_settings: MakeSettings) -> None:
    def broken() -> NoReturn:
        raise RuntimeError("the secret of 127.0.0.1")

    app = create_app(make_settings())
    app.dependency_overrides[get_ollama_service] = broken
    async with serve(app) as url:
        error_in(await ask(client, url, "chat/completions", CHAT), "internal_error")


async def test_the_api_can_be_disabled(client: aiohttp.ClientSession, make_settings: MakeSettings) -> None:
    app = create_app(make_settings(openai_api_enabled=False))
    assert not any(path.startswith("/v1") for path in app.openapi()["paths"])
    async with serve(app) as url:
        for path in ("models", "chat/completions", "embeddings"):
            message = error_in(await ask(client, url, path, CHAT), "not_found")
            assert "OPENAI_API_ENABLED" in message

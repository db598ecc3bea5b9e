"""Requests of the client, and its timeouts."""

import asyncio
import socket
from typing import Any

import pytest
from pydantic import SecretStr

from services.ollama.client import OllamaClient
from services.ollama.errors import (
    NoSuchEndpointError,
    OllamaConnectTimeoutError,
    OllamaResponseError,
    OllamaTimeoutError,
    OllamaUnavailableError,
)
from services.upstream import client_options
from simulator import Fault, Simulator
from tests.conftest import MakeSettings
from tests.services.ollama.client_calls import BODY, PATH, Ask, answering, calls, either, whole

pytestmark = pytest.mark.every_loop


@either
async def test_a_request_has_a_json_body_and_few_headers(
    transport: OllamaClient, simulator: Simulator, ask: Ask
) -> None:
    await ask(transport)
    (seen,) = calls(simulator)
    assert (seen.method, seen.headers["Content-Type"]) == ("POST", "application/json")
    assert seen.headers["Host"] == simulator.url.removeprefix("http://")
    assert {name.title() for name in seen.headers} == {"Host", "Accept", "User-Agent", "Content-Type", "Content-Length"}


async def test_a_get_request_has_no_body(transport: OllamaClient, simulator: Simulator) -> None:
    await transport.get("/api/tags")
    (seen,) = simulator.calls
    assert {name.title() for name in seen.headers} == {"Host", "Accept", "User-Agent"}


@either
async def test_the_api_key_is_sent_upstream(make_settings: MakeSettings, simulator: Simulator, ask: Ask) -> None:
    async with OllamaClient(client_options(make_settings(ollama_api_key=SecretStr("hush")))) as transport:
        await ask(transport)
        await transport.get("/api/tags")
    assert {seen.headers.get("Authorization") for seen in simulator.calls} == {"Bearer hush"}
    assert len(simulator.calls) == 2


async def test_a_large_body_is_sent_completely_on_each_attempt(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    simulator.fault(Fault(status=503, message="busy"))
    prompt = "x" * 3_000_000
    async with OllamaClient(client_options(make_settings())) as transport:
        await transport.post(PATH, BODY | {"prompt": prompt, "stream": False})
    assert [(seen.status, len(seen.body["prompt"])) for seen in calls(simulator)] == [
        (503, 3_000_000),
        (200, 3_000_000),
    ]


@either
async def test_connections_are_kept_alive(transport: OllamaClient, simulator: Simulator, ask: Ask) -> None:
    for _ in range(3):
        await ask(transport)
    assert len({seen.connection for seen in calls(simulator)}) == 1


async def test_health_and_generation_do_not_share_connections(transport: OllamaClient, simulator: Simulator) -> None:
    await whole(transport)
    await transport.get("/api/version")
    await whole(transport)
    assert [seen.connection for seen in simulator.calls] == [1, 2, 1]


async def test_a_base_url_may_have_a_path(make_settings: MakeSettings, simulator: Simulator) -> None:
    async with OllamaClient(client_options(make_settings(ollama_base_url=f"{simulator.url}/ollama/api/"))) as transport:
        with pytest.raises(NoSuchEndpointError):
            await transport.get("/api/tags")
    assert [seen.path for seen in simulator.calls] == ["/ollama/api/tags"]


async def test_the_password_of_a_base_url_is_sent_upstream(make_settings: MakeSettings, simulator: Simulator) -> None:
    address = simulator.url.replace("://", "://user:word@")
    async with OllamaClient(client_options(make_settings(ollama_base_url=address))) as transport:
        await whole(transport)
    assert calls(simulator)[0].headers["Authorization"] == "Basic dXNlcjp3b3Jk"


async def test_a_redirect_is_not_followed(make_settings: MakeSettings, simulator: Simulator) -> None:
    location = f"Location: {simulator.url}{PATH}\r\n"
    redirect = f"HTTP/1.1 307 Temporary Redirect\r\n{location}Content-Length: 0\r\n\r\n".encode()
    async with (
        answering(redirect) as url,
        OllamaClient(client_options(make_settings(ollama_base_url=url))) as transport,
    ):
        with pytest.raises(OllamaResponseError, match="status 307"):
            await whole(transport)
    assert simulator.calls == []


@either
async def test_a_closed_client_is_unavailable(make_settings: MakeSettings, simulator: Simulator, ask: Ask) -> None:
    async with OllamaClient(client_options(make_settings())) as transport:
        await ask(transport)
    simulator.calls.clear()
    with pytest.raises(OllamaUnavailableError, match="closed meanwhile"):
        await ask(transport)
    with pytest.raises(OllamaUnavailableError, match="closed meanwhile"):
        await transport.get("/api/version")
    assert simulator.calls == []


async def test_connecting_has_its_own_timeout(make_settings: MakeSettings) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        settings = make_settings(ollama_base_url=f"http://127.0.0.1:{port}", ollama_connect_timeout=0.2)
        async with OllamaClient(client_options(settings)) as transport:
            with pytest.raises(OllamaConnectTimeoutError) as caught:
                await whole(transport)
        for filler in fillers:
            filler.close()
    assert "OLLAMA_CONNECT_TIMEOUT" in caught.value.detail
    assert caught.value.retryable


@pytest.mark.asyncio(loop_factories=["asyncio"])  # uvloop's methods cannot be patched
async def test_the_health_timeout_leaves_time_for_the_response_of_the_service(
    make_settings: MakeSettings, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.fault(Fault(path="/api/version", hang=True))
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    call_at = loop.call_at

    def watched(when: float, *args: Any, **options: Any) -> asyncio.TimerHandle:
        timers.append(when - loop.time())
        return call_at(when, *args, **options)

    monkeypatch.setattr(loop, "call_at", watched)
    async with OllamaClient(
        client_options(make_settings(ollama_health_timeout=100, ollama_connect_timeout=2))
    ) as transport:
        asking = asyncio.create_task(transport.get("/api/version"))
        await simulator.received("/api/version")
        asking.cancel()
    assert [round(seconds) for seconds in timers if 10 < seconds < 1000 and round(seconds) != 60] == [97]


async def test_health_has_its_own_timeout(make_settings: MakeSettings, simulator: Simulator) -> None:
    simulator.fault(Fault(path="/api/version", hang=True))
    async with OllamaClient(client_options(make_settings(ollama_health_timeout=0.5))) as transport:
        with pytest.raises(OllamaTimeoutError, match="OLLAMA_HEALTH_TIMEOUT"):
            await transport.get("/api/version")
    assert len(simulator.calls) == 1

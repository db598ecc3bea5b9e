"""`/health` has the times of the last success and the last failure."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.api import call, get, post
from tests.conftest import MakeSettings
from tests.kinds import EMBEDDINGS, KINDS, PROMPT, STREAMED_SSE, WHOLE, Kind, load_is, nothing_is_left, see, until
from tests.serving import serve

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


async def outcomes(client: aiohttp.ClientSession, url: str) -> tuple[Any, Any, Any]:
    ollama = (await get(client, f"{url}/health")).json()["ollama"]
    return ollama["last_success_at"], ollama["last_failure_at"], ollama["last_failure_code"]


def is_now(text: str) -> bool:
    moment = datetime.fromisoformat(text)
    assert moment.tzinfo is not None
    return abs(moment - datetime.now(UTC)) < timedelta(seconds=10)


@every_kind
async def test_a_complete_response_is_a_success(client: aiohttp.ClientSession, url: str, kind: Kind) -> None:
    assert await outcomes(client, url) == (None, None, None)
    assert (await see(kind.ask(client, url))).status == 200
    succeeded, failed, code = await outcomes(client, url)
    assert is_now(succeeded)
    assert (failed, code) == (None, None)


@every_kind
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(hang=True), "timeout"),
        (Fault(status=500), "ollama_error"),
        (Fault(status=503, times=None), "ollama_busy"),
        (Fault(reset_after=1), "ollama_error"),
    ],
    ids=["hang", "500", "503", "reset"],
)
async def test_a_failure_is_recorded_with_time_and_code(
    make_settings: MakeSettings,
    simulator: Simulator,
    client: aiohttp.ClientSession,
    kind: Kind,
    fault: Fault,
    code: str,
) -> None:
    async with serve(create_app(make_settings(ollama_request_timeout=0.2))) as url:
        simulator.fault(fault)
        await see(kind.ask(client, url, **({} if kind is EMBEDDINGS else {"fallback": False})))
        succeeded, failed, named = await outcomes(client, url)
        assert (succeeded, named) == (None, code)
        assert is_now(failed)
        simulator.clear_faults()
        await see(kind.ask(client, url))
        assert await outcomes(client, url) != (None, failed, code)
        assert (await outcomes(client, url))[1:] == (failed, code)


async def test_an_unreachable_ollama_is_a_failure(
    simulator: Simulator, client: aiohttp.ClientSession, url: str
) -> None:
    await simulator.stop()
    await see(WHOLE.ask(client, url))
    first = await outcomes(client, url)
    assert first[2] == "ollama_unavailable"
    await see(WHOLE.ask(client, url))  # rejected by the circuit breaker
    assert await outcomes(client, url) == first


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("generate", {"prompt": ""}),
        ("generate", PROMPT | {"model": "unknown", "fallback": False}),
        ("generate", PROMPT | {"model": "nomic-embed-text"}),
        ("embeddings", {"text": "a", "model": "unknown"}),
        ("embeddings", {"text": "a", "model": "llama3.1"}),
    ],
)
async def test_an_invalid_request_is_not_a_failure_of_ollama(
    client: aiohttp.ClientSession, url: str, endpoint: str, body: dict[str, Any]
) -> None:
    assert (await post(client, url, endpoint, body)).status >= 400
    assert await outcomes(client, url) == (None, None, None)


async def test_a_model_without_embeddings_is_not_a_failure_of_ollama(client: aiohttp.ClientSession, url: str) -> None:
    body = {"model": "llama3.1", "input": "a"}
    assert (await call(client, "POST", f"{url}/api/embed", json=body)).status == 501
    assert await outcomes(client, url) == (None, None, None)


@pytest.mark.parametrize("kind", [WHOLE, STREAMED_SSE, EMBEDDINGS], ids=lambda kind: kind.name)
async def test_a_disconnect_is_not_a_failure_of_ollama(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    simulator.fault(Fault(hang=True))
    asking = asyncio.create_task(see(kind.ask(client, url)))
    await until(lambda: len(simulator.calls_to(kind.upstream)) == 1)
    asking.cancel()
    await asyncio.wait({asking})
    await nothing_is_left(client, url, simulator)
    assert await outcomes(client, url) == (None, None, None)


async def test_a_disconnect_during_a_stream_is_neither_success_nor_failure(
    simulator: Simulator, client: aiohttp.ClientSession, url: str
) -> None:
    simulator.fault(Fault(stall_after=2))
    async with STREAMED_SSE.ask(client, url) as response:
        await response.content.readany()
    await nothing_is_left(client, url, simulator)
    assert await outcomes(client, url) == (None, None, None)


async def test_a_full_queue_is_not_a_failure_of_ollama(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    async with serve(create_app(make_settings(ollama_max_connections=1, ollama_queue_size=0))) as url:
        simulator.fault(Fault(hang=True))
        asking = asyncio.create_task(see(WHOLE.ask(client, url)))
        await load_is(client, url, running=1)
        assert (await see(WHOLE.ask(client, url))).code == "overloaded"
        assert await outcomes(client, url) == (None, None, None)
        asking.cancel()
        await asyncio.wait({asking})

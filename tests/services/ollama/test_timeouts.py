"""Each timeout has its own setting, which the error names; it closes the upstream connection and is not retried."""

import asyncio
import time
from typing import Any

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.conftest import MakeSettings
from tests.kinds import (
    EMBEDDINGS,
    KINDS,
    STREAMED_NDJSON,
    STREAMED_SSE,
    STREAMED_TEXT,
    WHOLE,
    Kind,
    Seen,
    check_one_last,
    nothing_is_left,
    see,
)
from tests.serving import serve

LIMIT = 0.1
SLACK = 4  # enough for a busy machine; other timeouts of the settings are longer
STREAMS = [kind for kind in KINDS if kind.is_stream]
WHOLES = [kind for kind in KINDS if not kind.is_stream]


def check_timeout(seen: Seen, setting: str) -> None:
    assert (seen.status, seen.code) == (504, "timeout")
    assert setting in seen.json["detail"]
    assert f"{LIMIT:g} s" in seen.json["detail"]
    assert seen.json["retryable"] is False


def check_error_event(event: dict[str, Any], setting: str) -> None:
    assert (event["type"], event["code"], event["retryable"]) == ("error", "timeout", False)
    assert setting in event["detail"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_request_timeout_limits_the_wait_for_the_first_byte(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    simulator.fault(Fault(hang=True, times=None))
    async with serve(create_app(make_settings(ollama_request_timeout=LIMIT))) as url:
        started = time.monotonic()
        seen = await see(kind.ask(client, url))
        assert LIMIT <= time.monotonic() - started < LIMIT + SLACK
        check_timeout(seen, "OLLAMA_REQUEST_TIMEOUT")
        await nothing_is_left(client, url, simulator)
    assert [call.outcome for call in simulator.calls_to(kind.upstream)] == ["client_gone"]


@pytest.mark.parametrize("kind", STREAMS, ids=lambda kind: kind.name)
async def test_request_timeout_limits_the_wait_for_the_first_chunk_after_the_headers(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    simulator.fault(Fault(stall_after=0, times=None))
    async with serve(create_app(make_settings(ollama_request_timeout=LIMIT))) as url:
        check_timeout(await see(kind.ask(client, url)), "OLLAMA_REQUEST_TIMEOUT")
        await nothing_is_left(client, url, simulator)
    assert [call.outcome for call in simulator.calls_to(kind.upstream)] == ["client_gone"]


@pytest.mark.parametrize("kind", WHOLES, ids=lambda kind: kind.name)
async def test_request_timeout_limits_a_complete_response(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    simulator.fault(Fault(stall_after=1, times=None))
    async with serve(create_app(make_settings(ollama_request_timeout=LIMIT))) as url:
        check_timeout(await see(kind.ask(client, url)), "OLLAMA_REQUEST_TIMEOUT")
        await nothing_is_left(client, url, simulator)
    assert [call.outcome for call in simulator.calls_to(kind.upstream)] == ["client_gone"]


@pytest.mark.parametrize("kind", STREAMS, ids=lambda kind: kind.name)
async def test_idle_timeout_limits_the_time_between_chunks(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    simulator.fault(Fault(stall_after=2, times=None))
    async with serve(create_app(make_settings(ollama_stream_idle_timeout=LIMIT))) as url:
        started = time.monotonic()
        seen = await see(kind.ask(client, url))
        assert LIMIT <= time.monotonic() - started < LIMIT + SLACK
        assert seen.status == 200
        assert seen.cut is not kind.tells_more
        if kind.tells_more:
            check_one_last(seen.events, "error")
            check_error_event(seen.events[-1], "OLLAMA_STREAM_IDLE_TIMEOUT")
        await nothing_is_left(client, url, simulator)
    assert [call.outcome for call in simulator.calls_to(kind.upstream)] == ["client_gone"]


@pytest.mark.parametrize("kind", [STREAMED_SSE, STREAMED_NDJSON, STREAMED_TEXT], ids=lambda kind: kind.name)
async def test_the_total_time_of_a_stream_is_not_limited(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    simulator.seconds_per_token = 0.03
    settings = make_settings(ollama_request_timeout=0.6, ollama_stream_idle_timeout=0.6)
    async with serve(create_app(settings)) as url:
        started = time.monotonic()
        seen = await see(kind.ask(client, url))
        assert time.monotonic() - started > 0.6
        assert (seen.status, seen.cut) == (200, False)


@pytest.mark.parametrize("kind", [STREAMED_SSE, STREAMED_NDJSON], ids=lambda kind: kind.name)
async def test_the_first_chunk_may_take_longer_than_a_later_one(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    simulator.fault(Fault(delay_seconds=0.7))
    async with serve(create_app(make_settings(ollama_stream_idle_timeout=0.5))) as url:
        check_one_last((await see(kind.ask(client, url))).events, "done")


async def test_a_slow_reader_does_not_cause_an_idle_timeout(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    async with serve(create_app(make_settings(ollama_stream_idle_timeout=0.5))) as url:
        async with STREAMED_NDJSON.ask(client, url) as response:
            await asyncio.sleep(1)
            assert b'"type":"done"' in await response.read()
        await nothing_is_left(client, url, simulator)


@pytest.mark.parametrize("path", ["/api/ollama/models?force_refresh=true", "/api/ollama/models"])
async def test_health_timeout_limits_the_model_list(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, path: str
) -> None:
    simulator.fault(Fault(path="/api/tags", hang=True, times=None))
    async with serve(create_app(make_settings(ollama_health_timeout=LIMIT))) as url:
        started = time.monotonic()
        seen = await see(client.get(url + path))
        assert time.monotonic() - started < LIMIT + SLACK
        check_timeout(seen, "OLLAMA_HEALTH_TIMEOUT")
        await nothing_is_left(client, url, simulator)
    assert {call.outcome for call in simulator.calls_to("/api/tags")} == {"client_gone"}


async def test_a_hanging_model_list_does_not_stop_a_generation(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.fault(Fault(path="/api/tags", hang=True, times=None))
    async with serve(create_app(make_settings(ollama_health_timeout=LIMIT))) as url:
        seen = await asyncio.gather(*(see(kind.ask(client, url)) for kind in KINDS))
        assert [one.status for one in seen] == [200] * len(KINDS)


async def test_idle_timeout_applies_between_partial_lines(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    """An incomplete line does not count as a chunk."""
    simulator.fault(Fault(stall_after=1, split_bytes=1, times=None))
    async with serve(create_app(make_settings(ollama_request_timeout=LIMIT, ollama_stream_idle_timeout=LIMIT))) as url:
        seen = await see(STREAMED_NDJSON.ask(client, url))
        check_one_last(seen.events, "error")
        check_error_event(seen.events[-1], "OLLAMA_STREAM_IDLE_TIMEOUT")
        await nothing_is_left(client, url, simulator)


@pytest.mark.parametrize("kind", [WHOLE, STREAMED_SSE, EMBEDDINGS], ids=lambda kind: kind.name)
async def test_request_timeout_limits_all_attempts_together(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    simulator.fault(Fault(status=503, message="busy", times=1))
    simulator.fault(Fault(hang=True, times=None))
    async with serve(create_app(make_settings(ollama_request_timeout=LIMIT))) as url:
        check_timeout(await see(kind.ask(client, url)), "OLLAMA_REQUEST_TIMEOUT")
        await nothing_is_left(client, url, simulator)
    assert len(simulator.calls_to(kind.upstream)) == 2

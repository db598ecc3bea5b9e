"""Heartbeats of idle SSE streams."""

import asyncio
import time

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.conftest import MakeSettings
from tests.kinds import CHATS, GENERATES, STREAMED_SSE, Kind, check_one_last, nothing_is_left, see
from tests.serving import serve

INTERVAL = 0.05
PING = b": ping\n\n"
SSE_KINDS = [GENERATES[1], CHATS[1]]
sse = pytest.mark.parametrize("kind", SSE_KINDS, ids=lambda kind: kind.name)


@sse
async def test_heartbeats_begin_before_the_first_token(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    some_came = asyncio.Event()
    simulator.fault(Fault(until=some_came))
    async with serve(create_app(make_settings(sse_ping_interval=INTERVAL))) as url:
        started = time.monotonic()
        async with kind.ask(client, url) as response:
            assert response.status == 200
            assert response.headers["X-Model"] == "llama3.1"
            assert response.headers["X-Model-Fallback"] == "false"
            assert response.headers["X-Accel-Buffering"] == "no"
            assert await response.content.readexactly(5 * len(PING)) == 5 * PING
            some_came.set()
            body = await response.read()
            elapsed = time.monotonic() - started
    more, _, _ = body.partition(b"event: start")
    assert more == PING * more.count(b"ping")
    assert 5 + more.count(b"ping") <= elapsed / INTERVAL


async def test_heartbeats_are_sent_while_a_model_loads(
    make_settings: MakeSettings, client: aiohttp.ClientSession
) -> None:
    async with Simulator(load_seconds=0.3) as simulator:
        settings = make_settings(ollama_base_url=simulator.url, sse_ping_interval=INTERVAL)
        async with serve(create_app(settings)) as url:
            seen = await see(STREAMED_SSE.ask(client, url))
    assert seen.pings >= 3
    check_one_last(seen.events, "done")


async def test_heartbeats_are_sent_between_tokens(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.fault(Fault(stall_after=3))
    settings = make_settings(sse_ping_interval=0.2, ollama_stream_idle_timeout=0.9)
    async with serve(create_app(settings)) as url:
        seen = await see(STREAMED_SSE.ask(client, url))
    tokens, _, after = seen.body.rpartition(b"event: token")
    assert PING not in tokens
    assert 2 <= after.count(PING) <= 4
    check_one_last(seen.events, "error")
    assert seen.events[-1]["code"] == "timeout"


async def test_an_active_stream_has_no_heartbeats(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.seconds_per_token = 0.01
    async with serve(create_app(make_settings(sse_ping_interval=0.2))) as url:
        seen = await see(STREAMED_SSE.ask(client, url))
    assert seen.pings == 0
    check_one_last(seen.events, "done")


@pytest.mark.parametrize("kind", [*GENERATES[2:], *CHATS[2:]], ids=lambda kind: kind.name)
async def test_only_sse_has_heartbeats(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    simulator.fault(Fault(delay_seconds=0.2))
    async with serve(create_app(make_settings(sse_ping_interval=0.02))) as url:
        assert b"ping" not in (await see(kind.ask(client, url))).body


@sse
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(status=500, delay_seconds=0.2), "ollama_error"),
        (Fault(status=400, message="no", delay_seconds=0.2), "rejected_by_ollama"),
        (Fault(reset_after=0, delay_seconds=0.2), "ollama_error"),
        (Fault(hang=True), "timeout"),
        (Fault(status=503, message="busy", delay_seconds=0.1, times=None), "ollama_busy"),
    ],
    ids=["500", "400", "reset", "hang", "busy"],
)
async def test_a_failure_after_a_heartbeat_is_an_error_event(
    make_settings: MakeSettings,
    simulator: Simulator,
    client: aiohttp.ClientSession,
    kind: Kind,
    fault: Fault,
    code: str,
) -> None:
    simulator.fault(fault)
    settings = make_settings(sse_ping_interval=INTERVAL, ollama_request_timeout=0.4 if fault.hang else 60)
    async with serve(create_app(settings)) as url:
        seen = await see(kind.ask(client, url, fallback=False))
        assert (seen.status, seen.cut) == (200, False)
        assert seen.body.startswith(PING)
        (event,) = seen.events
        assert (event["type"], event["code"]) == ("error", code)
        assert seen.body.endswith(b"\n\n")
        assert not seen.body.endswith(PING)
        await nothing_is_left(client, url, simulator)


@sse
async def test_a_failure_before_a_heartbeat_has_its_status(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    simulator.fault(Fault(status=500))
    async with serve(create_app(make_settings(sse_ping_interval=5))) as url:
        seen = await see(kind.ask(client, url, fallback=False))
        assert (seen.status, seen.code) == (502, "ollama_error")


@sse
async def test_a_fallback_after_a_heartbeat_is_reported_in_the_start_event(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    simulator.fault(Fault(load_failure=True, delay_seconds=0.15))
    async with serve(create_app(make_settings(sse_ping_interval=INTERVAL))) as url:
        seen = await see(kind.ask(client, url))
    check_one_last(seen.events, "done")
    start = seen.events[0]
    assert (start["model"], start["requested_model"], start["fallback"]) == ("gpt-oss", "llama3.1", True)
    assert "fallback_model" in seen.events[-1]["warnings"]


@pytest.mark.parametrize("microseconds", [1, 300, 1000, 3000])
async def test_no_heartbeat_follows_the_last_event(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, microseconds: int
) -> None:
    simulator.seconds_per_token = 0.0005
    async with serve(create_app(make_settings(sse_ping_interval=microseconds / 1e6))) as url:
        simulator.fault(Fault(times=3))
        simulator.fault(Fault(error_after=5, times=3))
        for number in range(6):
            seen = await see(STREAMED_SSE.ask(client, url))
            assert (seen.status, seen.cut) == (200, False)
            check_one_last(seen.events, "done" if number < 3 else "error")
            assert not seen.body.endswith(PING)
        await nothing_is_left(client, url, simulator)


async def test_heartbeats_stop_with_the_stream(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    before = len(asyncio.all_tasks())
    async with serve(create_app(make_settings(sse_ping_interval=0.01))) as url:
        await see(STREAMED_SSE.ask(client, url))
        simulator.fault(Fault(hang=True))
        async with STREAMED_SSE.ask(client, url) as response:
            await response.content.readany()
            response.close()
        await nothing_is_left(client, url, simulator)
        pings = [task for task in asyncio.all_tasks() if "_ping" in repr(task)]
        assert pings == []
    assert len(asyncio.all_tasks()) <= before + 2

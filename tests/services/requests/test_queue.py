"""The queue of the service, tested over HTTP; `../test_concurrency_limiter.py` tests its class alone."""

import asyncio
import time

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.conftest import MakeSettings
from tests.kinds import (
    EMBEDDINGS,
    KINDS,
    STREAMED_SSE,
    STREAMED_TEXT,
    WHOLE,
    Kind,
    check_one_last,
    load,
    load_is,
    nothing_is_left,
    see,
    sse_events,
    until,
)
from tests.serving import serve

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


async def test_no_more_requests_run_upstream_than_there_are_slots(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.seconds_per_token = 0.0005
    async with serve(create_app(make_settings(ollama_max_connections=3))) as url:
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                running = [call for call in simulator.calls if call.method == "POST" and call.outcome is None]
                most = max(most, len(running))
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        seen = await asyncio.gather(*(see(KINDS[number % len(KINDS)].ask(client, url)) for number in range(40)))
        watching.cancel()
        assert [one.status for one in seen] == [200] * 40
        assert most == 3
        await nothing_is_left(client, url, simulator)


async def test_first_come_first_served(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    all_asked = asyncio.Event()
    simulator.fault(Fault(until=all_asked))
    async with serve(create_app(make_settings(ollama_max_connections=1))) as url:
        tasks = []
        for number in range(8):
            tasks.append(asyncio.create_task(see(WHOLE.ask(client, url, prompt=str(number)))))
            await load_is(client, url, running=1, queued=number)
        all_asked.set()
        await asyncio.gather(*tasks)
    assert [call.body["prompt"] for call in simulator.calls_to("/api/generate")] == [str(n) for n in range(8)]


@every_kind
async def test_a_full_queue_rejects_immediately(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    simulator.fault(Fault(hang=True))
    async with serve(create_app(make_settings(ollama_max_connections=1, ollama_queue_size=0))) as url:
        holder = asyncio.create_task(see(WHOLE.ask(client, url)))
        await simulator.received("/api/generate")
        started = time.monotonic()
        seen = await see(kind.ask(client, url))
        assert time.monotonic() - started < 10  # OLLAMA_QUEUE_TIMEOUT is 30
        assert (seen.status, seen.code) == (503, "overloaded")
        assert "OLLAMA_QUEUE_SIZE" in seen.json["detail"]
        assert seen.json["retryable"] is True
        assert 1 <= int(seen.headers["Retry-After"]) <= 120
        holder.cancel()
        await nothing_is_left(client, url, simulator)


async def test_a_request_beyond_the_queue_size_is_rejected(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    one_refused = asyncio.Event()
    simulator.fault(Fault(until=one_refused, times=2))
    async with serve(create_app(make_settings(ollama_max_connections=2, ollama_queue_size=3))) as url:
        tasks = {asyncio.create_task(see(WHOLE.ask(client, url))) for _ in range(6)}
        done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        one_refused.set()
        seen = await asyncio.gather(*waiting)
        assert [one.result().status for one in done] == [503]
        assert [one.status for one in seen] == [200] * 5
        assert len(simulator.calls_to("/api/generate")) == 5
        await nothing_is_left(client, url, simulator)


@every_kind
async def test_a_queue_timeout_is_rejected(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    simulator.fault(Fault(hang=True))
    async with serve(create_app(make_settings(ollama_max_connections=1, ollama_queue_timeout=0.05))) as url:
        holder = asyncio.create_task(see(WHOLE.ask(client, url)))
        await simulator.received("/api/generate")
        seen = await see(kind.ask(client, url))
        assert (seen.status, seen.code) == (503, "overloaded")
        assert "OLLAMA_QUEUE_TIMEOUT" in seen.json["detail"]
        assert int(seen.headers["Retry-After"]) >= 1
        assert await load(client, url) == {"running": 1, "queued": 0}
        holder.cancel()
        await nothing_is_left(client, url, simulator)


async def test_retry_after_depends_on_the_duration_of_requests(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    settings = make_settings(ollama_max_connections=1, ollama_queue_size=4, ollama_queue_timeout=20)
    async with serve(create_app(settings)) as url:
        simulator.fault(Fault(delay_seconds=0.6))
        await see(WHOLE.ask(client, url))
        simulator.fault(Fault(hang=True))
        tasks = [asyncio.create_task(see(WHOLE.ask(client, url))) for _ in range(5)]
        await load_is(client, url, running=1, queued=4)
        seen = await see(WHOLE.ask(client, url))
        assert (seen.status, seen.headers["Retry-After"]) == (503, "4")  # five times 0.6 s, rounded up
        for task in tasks:
            task.cancel()
        await nothing_is_left(client, url, simulator)


@pytest.mark.parametrize("kind", [WHOLE, STREAMED_TEXT, EMBEDDINGS], ids=lambda kind: kind.name)
async def test_time_in_the_queue_does_not_count_towards_the_request_timeout(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    simulator.fault(Fault(delay_seconds=0.3, times=5))
    async with serve(create_app(make_settings(ollama_max_connections=1, ollama_request_timeout=1.4))) as url:
        seen = await asyncio.gather(*(see(kind.ask(client, url)) for _ in range(5)))
        assert [one.status for one in seen] == [200] * 5


async def test_heartbeats_are_sent_while_queued(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    pings_came = asyncio.Event()
    simulator.fault(Fault(until=pings_came))
    async with serve(create_app(make_settings(ollama_max_connections=1, sse_ping_interval=0.03))) as url:
        first = asyncio.create_task(see(WHOLE.ask(client, url)))
        await simulator.received(WHOLE.upstream)
        async with STREAMED_SSE.ask(client, url) as second:
            pings = await second.content.readexactly(3 * len(b": ping\n\n"))
            pings_came.set()
            body = await second.read()
        assert pings == 3 * b": ping\n\n"
        assert (await first).status == second.status == 200
        check_one_last(sse_events(body), "done")


async def test_a_queue_timeout_after_a_heartbeat_is_an_error_event(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.fault(Fault(hang=True))
    settings = make_settings(ollama_max_connections=1, ollama_queue_timeout=0.15, sse_ping_interval=0.03)
    async with serve(create_app(settings)) as url:
        holder = asyncio.create_task(see(WHOLE.ask(client, url)))
        await simulator.received("/api/generate")
        seen = await see(STREAMED_SSE.ask(client, url))
        assert seen.status == 200
        (event,) = seen.events
        assert (event["type"], event["code"], event["retryable"]) == ("error", "overloaded", True)
        assert "OLLAMA_QUEUE_TIMEOUT" in event["detail"]
        holder.cancel()
        await nothing_is_left(client, url, simulator)


async def test_the_queue_advances_when_a_request_fails(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.fault(Fault(reset_after=0, delay_seconds=0.05))
    simulator.fault(Fault(status=500, delay_seconds=0.05))
    simulator.fault(Fault(status=400, message="no", delay_seconds=0.05))
    simulator.fault(Fault(truncate_body=True))
    async with serve(create_app(make_settings(ollama_max_connections=1))) as url:
        seen = await asyncio.gather(*(see(WHOLE.ask(client, url, fallback=False)) for _ in range(6)))
        assert sorted(one.status for one in seen) == [200, 200, 400, 502, 502, 502]
        await nothing_is_left(client, url, simulator)


async def test_control_requests_need_no_slot(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.fault(Fault(hang=True))
    async with serve(create_app(make_settings(ollama_max_connections=1, ollama_queue_size=0))) as url:
        holder = asyncio.create_task(see(WHOLE.ask(client, url)))
        await simulator.received("/api/generate")
        async with client.get(f"{url}/api/ollama/models?force_refresh=true") as response:
            assert response.status == 200
        holder.cancel()
        await until(lambda: simulator.open_calls == 0)

"""Client disconnects at any point of a request: within a second all work for it has stopped."""

import asyncio
import logging
from typing import Any

import aiohttp
import pytest

from main import create_app
from middleware import client_disconnect
from middleware.client_disconnect import QUICK_SECONDS
from simulator import Fault, Simulator
from tests.conftest import MakeSettings
from tests.disconnects import asking, connect, wire
from tests.kinds import (
    EMBEDDINGS,
    KINDS,
    NATIVE_WHOLE,
    NATIVES,
    STREAMED_NDJSON,
    STREAMED_SSE,
    WHOLE,
    Kind,
    load_is,
    nothing_is_left,
    see,
    until,
)
from tests.serving import serve

pytestmark = pytest.mark.usefixtures("quiet")
EVERY_KIND = [*KINDS, *NATIVES]
every_kind = pytest.mark.parametrize("kind", EVERY_KIND, ids=lambda kind: kind.name)


@every_kind
async def test_before_the_first_byte(simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind) -> None:
    simulator.fault(Fault(hang=True))
    async with asking(kind, client, url):
        call = await simulator.received(kind.upstream)
        await load_is(client, url, running=1)
    await until(call.ended_event.is_set)
    assert call.outcome == "client_gone"
    await nothing_is_left(client, url, simulator)


@every_kind
async def test_while_a_model_loads(make_settings: MakeSettings, client: aiohttp.ClientSession, kind: Kind) -> None:
    async with (
        Simulator(load_seconds=30) as simulator,
        serve(create_app(make_settings(ollama_base_url=simulator.url))) as url,
    ):
        async with asking(kind, client, url):
            call = await simulator.received(kind.upstream)
        await until(call.ended_event.is_set)
        assert call.outcome == "client_gone"
        await nothing_is_left(client, url, simulator)


@pytest.mark.parametrize("kind", [kind for kind in EVERY_KIND if kind.is_stream], ids=lambda kind: kind.name)
async def test_in_the_middle_of_a_stream(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    simulator.seconds_per_token = 0.002
    simulator.fault(Fault(endless=True))
    async with kind.ask(client, url) as response:
        await response.content.readany()
        call = await simulator.received(kind.upstream)
        response.close()
    await until(call.ended_event.is_set)
    assert call.outcome == "client_gone"
    await nothing_is_left(client, url, simulator)


@pytest.mark.parametrize("kind", [kind for kind in EVERY_KIND if kind.is_stream], ids=lambda kind: kind.name)
async def test_while_the_model_is_silent(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    simulator.fault(Fault(stall_after=2))
    async with asking(kind, client, url):
        call = await simulator.received(kind.upstream)
        await until(lambda: call.chunks_sent == 2)
    await until(call.ended_event.is_set)
    assert call.outcome == "client_gone"
    await nothing_is_left(client, url, simulator)


@pytest.mark.parametrize("kind", [WHOLE, EMBEDDINGS, NATIVE_WHOLE], ids=lambda kind: kind.name)
async def test_in_the_middle_of_a_whole_body(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    simulator.fault(Fault(stall_after=1))
    async with asking(kind, client, url):
        call = await simulator.received(kind.upstream)
        await until(lambda: call.chunks_sent == 1)
    await until(call.ended_event.is_set)
    assert call.outcome == "client_gone"
    await nothing_is_left(client, url, simulator)


@every_kind
async def test_while_queued(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    simulator.fault(Fault(hang=True))
    async with serve(create_app(make_settings(ollama_max_connections=1))) as url:
        async with asking(WHOLE, client, url):
            await simulator.received("/api/generate")
            async with asking(kind, client, url):
                await load_is(client, url, running=1, queued=1)
            await load_is(client, url, running=1, queued=0)
        await nothing_is_left(client, url, simulator)
    assert sum(len(simulator.calls_to(path)) for path in ("/api/generate", "/api/chat", "/api/embed")) == 1


async def test_at_the_moment_a_slot_becomes_free(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.seconds_per_token = 0.0005
    async with serve(create_app(make_settings(ollama_max_connections=1, ollama_queue_size=500))) as url:
        tasks = [asyncio.create_task(see(KINDS[number % len(KINDS)].ask(client, url))) for number in range(60)]
        for task in tasks[1::2]:
            await asyncio.wait({tasks[0], asyncio.create_task(asyncio.sleep(0.004))})
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(not isinstance(result, BaseException) and result.status == 200 for result in results[0::2])
        await nothing_is_left(client, url, simulator)


@every_kind
async def test_during_the_pause_before_a_retry(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    simulator.fault(Fault(status=503, message="busy", times=None))
    async with serve(create_app(make_settings(ollama_retry_backoff=20))) as url:
        async with asking(kind, client, url):
            call = await simulator.received(kind.upstream)
            await call.ended_event.wait()
            await asyncio.sleep(0.02)
        await nothing_is_left(client, url, simulator)
    assert len(simulator.calls_to(kind.upstream)) == 1


@pytest.mark.parametrize("kind", [WHOLE, STREAMED_SSE, STREAMED_NDJSON], ids=lambda kind: kind.name)
@pytest.mark.parametrize("first", [Fault(status=404, message="gone"), Fault(load_failure=True)], ids=["gone", "broken"])
async def test_in_the_second_attempt_of_a_fallback(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind, first: Fault
) -> None:
    simulator.fault(first)
    simulator.fault(Fault(hang=True))
    async with asking(kind, client, url):
        call = await simulator.received(kind.upstream, count=2)
        assert call.body["model"] == "gpt-oss:latest"
    await until(call.ended_event.is_set)
    assert call.outcome == "client_gone"
    await nothing_is_left(client, url, simulator)


@pytest.mark.parametrize("kind", [WHOLE, STREAMED_SSE], ids=lambda kind: kind.name)
@pytest.mark.parametrize("path", ["/api/tags", "/api/ps"])
async def test_while_something_else_is_asked_for_it(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind, path: str
) -> None:
    await until(lambda: simulator.open_calls == 0 and len(simulator.calls) > 0)
    simulator.fault(Fault(path=path, delay_seconds=0.3, times=None))
    if path == "/api/ps":
        simulator.fault(Fault(load_failure=True))
    calls = len(simulator.calls_to(path))
    more = {"model": "unknown"} if path == "/api/tags" else {}
    async with asking(kind, client, url, **more):
        await simulator.received(path, count=calls + 1)
    await nothing_is_left(client, url, simulator)
    assert len(simulator.calls_to(kind.upstream)) == (path == "/api/ps")


async def test_between_heartbeats_before_the_first_token(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.fault(Fault(hang=True))
    async with serve(create_app(make_settings(sse_ping_interval=0.02))) as url:
        async with STREAMED_SSE.ask(client, url) as response:
            assert await response.content.readany() == b": ping\n\n"
            call = await simulator.received("/api/generate")
            response.close()
        await until(call.ended_event.is_set)
        assert call.outcome == "client_gone"
        await nothing_is_left(client, url, simulator)


async def test_after_done_nothing_is_cancelled_and_the_connection_to_ollama_stays(
    simulator: Simulator, client: aiohttp.ClientSession, url: str
) -> None:
    for kind in (STREAMED_SSE, STREAMED_NDJSON, STREAMED_SSE):
        async with kind.ask(client, url) as response:
            body = b""
            while b'"type":"done"' not in body:
                body += await response.content.readany()
            response.close()
        await nothing_is_left(client, url, simulator)
    assert [call.outcome for call in simulator.calls_to("/api/generate")] == ["completed"] * 3
    assert len({call.connection for call in simulator.calls_to("/api/generate")}) == 1


async def test_in_the_middle_of_its_own_body(simulator: Simulator, client: aiohttp.ClientSession, url: str) -> None:
    for cut in (1, 20, -1):
        _reader, writer = await connect(url)
        head, _, body = wire(WHOLE).partition(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n" + body[:cut])
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.close()
        await writer.wait_closed()
    await nothing_is_left(client, url, simulator)
    assert simulator.calls_to("/api/generate") == []


async def test_after_a_slowly_sent_body(simulator: Simulator, client: aiohttp.ClientSession, url: str) -> None:
    simulator.fault(Fault(hang=True))
    _reader, writer = await connect(url)
    head, _, body = wire(WHOLE).partition(b"\r\n\r\n")
    writer.write(head + b"\r\n\r\n" + body[:20])
    await asyncio.sleep(2 * QUICK_SECONDS)
    writer.write(body[20:])
    call = await simulator.received("/api/generate")
    writer.close()
    await until(call.ended_event.is_set)
    await nothing_is_left(client, url, simulator)


def watching() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if "_listen" in repr(task)]


async def test_a_slow_request_is_monitored(simulator: Simulator, client: aiohttp.ClientSession, url: str) -> None:
    simulator.fault(Fault(hang=True))
    async with asking(WHOLE, client, url):
        await until(lambda: len(watching()) == 1)
    await until(lambda: watching() == [])


@pytest.mark.parametrize("kind", [WHOLE, STREAMED_SSE, EMBEDDINGS], ids=lambda kind: kind.name)
async def test_before_monitoring_starts(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quick requests are not monitored; a disconnect in that time is detected when monitoring starts."""
    monkeypatch.setattr(client_disconnect, "QUICK_SECONDS", 1)
    simulator.fault(Fault(hang=True))
    _reader, writer = await connect(url)
    writer.write(wire(kind))
    call = await simulator.received(kind.upstream)
    assert watching() == []
    writer.transport.abort()
    await until(call.ended_event.is_set)
    assert call.outcome == "client_gone"
    await nothing_is_left(client, url, simulator)


async def test_a_disconnect_does_not_count_as_a_failure(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.fault(Fault(hang=True, times=20))
    async with serve(create_app(make_settings(ollama_max_connections=4))) as url:
        for number in range(20):
            async with asking(WHOLE, client, url):
                await simulator.received("/api/generate", count=number + 1)
        assert (await see(WHOLE.ask(client, url))).status == 200


async def test_a_disconnect_logs_one_line_without_a_warning(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.fault(Fault(hang=True))
    with caplog.at_level(logging.INFO):
        async with asking(WHOLE, client, url):
            await simulator.received("/api/generate")
        await nothing_is_left(client, url, simulator)
    (line,) = [record for record in caplog.records if "/api/ollama/generate" in record.getMessage()]
    assert "status=499" in line.getMessage()
    assert line.levelno == logging.INFO

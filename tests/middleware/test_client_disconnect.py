"""Client disconnects at any point of a request: within a second all work for it has stopped."""

import asyncio
import gc
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from main import create_app
from middleware import client_disconnect
from middleware.client_disconnect import QUICK_SECONDS
from services.ollama_service import OllamaService
from simulator import Fault, Simulator
from tests.conftest import MakeSettings
from tests.kinds import (
    EMBEDDINGS,
    KINDS,
    NATIVE_WHOLE,
    NATIVES,
    PATIENCE_SECONDS,
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

EVERY_KIND = [*KINDS, *NATIVES]
every_kind = pytest.mark.parametrize("kind", EVERY_KIND, ids=lambda kind: kind.name)


@pytest.fixture
async def quiet(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """Check that disconnects log no errors and no tracebacks."""
    loud: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: loud.append(context))
    yield
    logged = caplog.get_records("call")  # `records` are only those since the test ended
    loud += [record.getMessage() for record in logged if record.levelno > logging.WARNING or record.exc_info]
    assert loud == []


pytestmark = pytest.mark.usefixtures("quiet")


@asynccontextmanager
async def asking(kind: Kind, client: aiohttp.ClientSession, url: str, **more: Any) -> AsyncIterator[asyncio.Task[Any]]:
    """Start a request, and close its connection at the end."""
    task = asyncio.create_task(see(kind.ask(client, url, **more)))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def wire(kind: Kind, **headers: str) -> bytes:
    """Write a request as bytes."""
    body = json.dumps(kind.body).encode()
    lines = {"Host": "service", "Content-Type": "application/json", "Accept": kind.accept} | headers
    lines |= {"Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {kind.prefix}/{kind.path} HTTP/1.1\r\n{head}\r\n".encode() + body


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = url.removeprefix("http://").partition(":")
    return await asyncio.open_connection(host, int(port))


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


async def test_with_a_reset(simulator: Simulator, client: aiohttp.ClientSession, url: str) -> None:
    simulator.fault(Fault(hang=True))
    _reader, writer = await connect(url)
    writer.write(wire(STREAMED_SSE))
    call = await simulator.received("/api/generate")
    tcp: socket.socket = writer.get_extra_info("socket")
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    writer.transport.abort()
    await until(call.ended_event.is_set)
    await nothing_is_left(client, url, simulator)


async def test_a_half_closed_connection_counts_as_a_disconnect(
    simulator: Simulator, client: aiohttp.ClientSession, url: str
) -> None:
    """As in Go's server: a half-closed connection cannot be distinguished from a closed one."""
    simulator.fault(Fault(hang=True))
    _reader, writer = await connect(url)
    writer.write(wire(STREAMED_SSE))
    call = await simulator.received("/api/generate")
    writer.write_eof()
    await until(call.ended_event.is_set)
    assert call.outcome == "client_gone"
    await nothing_is_left(client, url, simulator)
    writer.close()


@pytest.mark.parametrize("kind", [STREAMED_NDJSON, STREAMED_SSE], ids=lambda kind: kind.name)
async def test_with_a_pipelined_request_during_a_stream(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    simulator.seconds_per_token = 0.002
    simulator.fault(Fault(endless=True))
    reader, writer = await connect(url)
    writer.write(wire(kind) + wire(kind))
    assert b"200" in await reader.readline()
    call = await simulator.received("/api/generate")
    writer.close()
    await until(call.ended_event.is_set)
    await nothing_is_left(client, url, simulator)


async def test_pipelined_requests_are_answered_in_order(simulator: Simulator, url: str) -> None:
    reader, writer = await connect(url)
    writer.write(wire(WHOLE) + wire(STREAMED_NDJSON) + wire(EMBEDDINGS, Connection="close"))
    answers = await reader.read()
    writer.close()
    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert answers.index(b'"success":true,"response"') < answers.index(b'"type":"done"') < answers.index(b'"dimension"')
    assert [call.path for call in simulator.calls if call.method == "POST"] == [
        "/api/generate", "/api/generate", "/api/embed",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_the_connection_of_an_http_1_0_client_is_closed_after_the_response(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    reader, writer = await connect(url)
    writer.write(wire(kind).replace(b"HTTP/1.1", b"HTTP/1.0"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert b"\r\nconnection: close" in head
    if not kind.is_stream:
        assert json.loads(body)["success"] is True
    else:
        assert b"\r\ntransfer-encoding" not in head  # HTTP/1.0 knows no chunks
        assert body
    await nothing_is_left(client, url, simulator)


async def test_one_connection_serves_many_requests(simulator: Simulator, url: str) -> None:
    opened = 0

    async def count(*_: object) -> None:
        nonlocal opened
        opened += 1

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(count)
    async with aiohttp.ClientSession(trace_configs=[trace]) as client:
        for kind in KINDS * 3:
            seen = await see(kind.ask(client, url))
            assert (seen.status, seen.cut) == (200, False)
        assert opened == 1
        await nothing_is_left(client, url, simulator)
    assert all(call.outcome == "completed" for call in simulator.calls)


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


# In process


def streams(service: OllamaService) -> list[Callable[[], Any]]:
    return [
        lambda: service.generate("llama3.1", "hello", stream=True),
        lambda: service.chat("llama3.1", [{"role": "user", "content": "hello"}], stream=True),
    ]


@pytest.mark.parametrize("which", [0, 1])
async def test_a_stream_closed_early_closes_its_upstream(
    make_settings: MakeSettings, simulator: Simulator, which: int
) -> None:
    simulator.seconds_per_token = 0.002
    simulator.fault(Fault(endless=True))
    service = OllamaService(make_settings())
    texts = await streams(service)[which]()
    async for text in texts:
        assert text
        break
    await texts.aclose()
    assert await service.queue_stats() == (0, 0)
    await until(lambda: simulator.open_calls == 0)
    await service.disconnect()


async def test_a_stream_dropped_unread_releases_its_slot(make_settings: MakeSettings, simulator: Simulator) -> None:
    simulator.seconds_per_token = 0.002
    simulator.fault(Fault(endless=True))
    service = OllamaService(make_settings())
    never_begun = await service.generate("llama3.1", "hello", stream=True)
    dropped = await service.generate("llama3.1", "hello", stream=True)
    assert await anext(dropped)
    assert await service.queue_stats() == (1, 0)
    del never_begun, dropped
    gc.collect()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await service.queue_stats() != (0, 0):
            await asyncio.sleep(0.005)
    await until(lambda: simulator.open_calls == 0)
    await service.disconnect()


async def test_a_cancelled_task_closes_its_upstream(make_settings: MakeSettings, simulator: Simulator) -> None:
    simulator.fault(Fault(hang=True, times=None))
    service = OllamaService(make_settings())
    tasks = [
        asyncio.create_task(service.generate("llama3.1", "hello")),
        asyncio.create_task(service.chat("llama3.1", [{"role": "user", "content": "hello"}])),
        asyncio.create_task(service.generate_embeddings("hello")),
    ]
    for path in ("/api/generate", "/api/chat", "/api/embed"):
        await simulator.received(path)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in results} == {asyncio.CancelledError}
    assert await service.queue_stats() == (0, 0)
    await until(lambda: simulator.open_calls == 0)
    await service.disconnect()


async def test_a_timeout_of_the_caller_is_raised_as_a_timeout(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    simulator.fault(Fault(hang=True))
    service = OllamaService(make_settings())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await service.generate("llama3.1", "hello")
    assert await service.queue_stats() == (0, 0)
    await service.disconnect()

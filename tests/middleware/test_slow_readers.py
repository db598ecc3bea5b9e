"""Clients that read slowly or not at all; the service runs in its own process."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from simulator import Fault, Simulator
from tests.kinds import (
    PATIENCE_SECONDS,
    STREAMED_NDJSON,
    STREAMED_SSE,
    STREAMED_TEXT,
    WHOLE,
    Kind,
    load,
    nothing_is_left,
    see,
    until,
)
from tests.service_process import ServiceProcess, run_service

# Lines of 16 KB, enough to fill the buffers of any kernel
FLOOD = Fault(
    body=(b'{"model":"llama3.1","response":"' + b"x" * 16_384 + b'"}\n') * 1500,
    content_type="application/x-ndjson",
    split_bytes=65_536,
    times=None,
)
STREAMS = [STREAMED_SSE, STREAMED_NDJSON, STREAMED_TEXT]


@contextmanager
def reader(service: ServiceProcess, kind: Kind, receive_buffer: int = 16_384) -> Iterator[socket.socket]:
    """Send a request over a socket with a small receive buffer."""
    with socket.socket() as tcp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        tcp.connect(("127.0.0.1", service.port))
        body = json.dumps(kind.body).encode()
        tcp.sendall(
            f"POST /api/ollama/{kind.path} HTTP/1.1\r\nHost: service\r\nContent-Type: application/json\r\n"
            f"Accept: {kind.accept}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        tcp.setblocking(False)
        yield tcp


async def read(tcp: socket.socket, size: int) -> int:
    """Read the available bytes, up to a maximum."""
    loop = asyncio.get_running_loop()
    return len(await loop.sock_recv(tcp, size))


@asynccontextmanager
async def service_of(simulator: Simulator, directory: Path, **settings: Any) -> AsyncIterator[ServiceProcess]:
    async with run_service(simulator.url, directory, log_level="WARNING", **settings) as service:
        yield service
        assert service.log == ""


async def test_twenty_slow_readers_cost_little_memory_and_slow_nobody_else(
    simulator: Simulator, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with service_of(simulator, tmp_path, ollama_max_connections=30) as service:
        for kind in (*STREAMS, WHOLE):
            await see(kind.ask(client, service.url))
        simulator.fault(Fault(endless=True, times=10))
        simulator.fault(FLOOD)
        with ExitStack() as stack:
            before = service.resident_kb
            readers = [stack.enter_context(reader(service, STREAMS[number % 3])) for number in range(20)]
            ends = time.monotonic() + 3
            most = taken = 0
            while time.monotonic() < ends:
                for tcp in readers:
                    taken += await read(tcp, 256)
                most = max(most, service.resident_kb)
                await asyncio.sleep(0.02)
            assert taken > 20 * 256
            assert (await load(client, service.url))["running"] == 20
            simulator.clear_faults()
            for kind in STREAMS:
                started = time.monotonic()
                seen = await see(kind.ask(client, service.url))
                assert (seen.status, seen.cut) == (200, False)
                assert time.monotonic() - started < PATIENCE_SECONDS
        sent = [call.chunks_sent for call in simulator.calls_to("/api/generate") if call.outcome != "completed"]
        assert len(sent) == 20
        print(f"20 slow readers: {most - before} kB more")  # noqa: T201 - the figure is wanted
        assert most - before < 60_000
        await nothing_is_left(client, service.url, simulator)


async def test_a_slow_reader_slows_the_upstream_down(
    simulator: Simulator, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Backpressure: the service reads no more from Ollama than the client reads."""
    async with service_of(simulator, tmp_path) as service:
        simulator.fault(FLOOD)
        with reader(service, STREAMED_NDJSON):
            call = await simulator.received("/api/generate")
            await asyncio.sleep(1)
            assert call.outcome is None  # 24 MB are not yet sent
        await until(call.ended_event.is_set)
        await nothing_is_left(client, service.url, simulator)


async def test_a_client_that_reads_nothing_is_dropped_and_its_slot_released(
    simulator: Simulator, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with service_of(simulator, tmp_path, client_write_timeout=0.6) as service:
        simulator.fault(FLOOD)
        for number, kind in enumerate(STREAMS, 1):
            with reader(service, kind) as tcp:
                call = await simulator.received("/api/generate", count=number)
                started = time.monotonic()
                await until(call.ended_event.is_set)
                assert time.monotonic() - started >= 0.6
                assert call.outcome in {"client_gone", "completed"}  # what is left is read and thrown away
                await nothing_is_left(client, service.url, simulator)
                rest = b""
                while piece := await asyncio.get_running_loop().sock_recv(tcp, 1 << 20):
                    rest = rest[-5:] + piece
                assert not rest.endswith(b"0\r\n\r\n"), kind.name  # it cannot be taken for the end of the answer


async def test_a_client_that_reads_slowly_is_not_dropped(
    simulator: Simulator, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with service_of(simulator, tmp_path, client_write_timeout=1) as service:
        simulator.fault(FLOOD)
        with reader(service, STREAMED_NDJSON) as tcp:
            call = await simulator.received("/api/generate")
            ends = time.monotonic() + 3
            while time.monotonic() < ends:
                assert await read(tcp, 8192) > 0
                await asyncio.sleep(0.05)
            assert call.outcome is None
        await until(call.ended_event.is_set)
        await nothing_is_left(client, service.url, simulator)


async def test_a_finished_response_releases_its_slot_before_it_is_read(
    simulator: Simulator, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """The slot is free once the model has finished."""
    async with service_of(simulator, tmp_path) as service:
        simulator.answer_tokens = 200
        with reader(service, STREAMED_SSE):
            call = await simulator.received("/api/generate")
            await until(call.ended_event.is_set)
            assert call.outcome == "completed"
            await nothing_is_left(client, service.url, simulator)

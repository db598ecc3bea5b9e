"""Disconnects and pipelining at the level of the TCP connection."""

import asyncio
import json
import socket

import aiohttp
import pytest

from simulator import Fault, Simulator
from tests.disconnects import connect, wire
from tests.kinds import (
    EMBEDDINGS,
    KINDS,
    PATIENCE_SECONDS,
    STREAMED_NDJSON,
    STREAMED_SSE,
    WHOLE,
    Kind,
    nothing_is_left,
    see,
    until,
)

pytestmark = pytest.mark.usefixtures("quiet")


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


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_with_a_pipelined_request_before_the_response(
    simulator: Simulator,
    client: aiohttp.ClientSession,
    url: str,
    kind: Kind,
    caplog: pytest.LogCaptureFixture,
) -> None:
    simulator.fault(Fault(hang=True))
    _reader, writer = await connect(url)
    writer.write(wire(kind) + b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    call = await simulator.received(kind.upstream)
    writer.close()
    await until(call.ended_event.is_set)
    await nothing_is_left(client, url, simulator)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


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

"""The simulator's server: recorded calls, disconnects, start and stop."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from simulator import ANSWER_TOKENS, Fault, Simulator
from tests.simulator.requests import CHAT, GENERATE, SOON, ended, lines, whole


async def test_every_request_is_recorded_with_its_outcome(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    async with client.get("/api/tags", headers={"X-Mark": "here"}) as response:
        await response.read()
    await lines(client, GENERATE)
    async with client.post("/nowhere", data=b"not json") as response:
        await response.read()
    tags, generate, nowhere = simulator.calls
    assert (tags.method, tags.path, tags.headers["x-mark"], tags.body) == ("GET", "/api/tags", "here", None)
    assert generate.body == GENERATE
    assert generate.chunks_sent == ANSWER_TOKENS + 1
    assert generate.first_byte is not None
    assert generate.ended is not None
    assert generate.started <= generate.first_byte <= generate.ended
    assert (nowhere.status, nowhere.body, nowhere.outcome) == (404, None, "completed")
    assert tags.connection == generate.connection == nowhere.connection
    assert (tags.reused, generate.reused) == (False, True)
    assert simulator.calls_to("/api/generate") == [generate]
    assert simulator.open_calls == 0


@asynccontextmanager
async def connected(simulator: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a client whose connections are aborted on exit."""
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(simulator.url, connector=connector) as session:
        yield session


LEAVING = [
    pytest.param(Fault(hang=True), True, id="hanging"),
    pytest.param(Fault(delay_seconds=60), True, id="before the first byte"),
    pytest.param(Fault(stall_after=2), True, id="stalled"),
    pytest.param(Fault(endless=True), True, id="endless"),
    pytest.param(Fault(endless=True), False, id="endless, whole"),
    pytest.param(Fault(stall_after=1), False, id="stalled, whole"),
    pytest.param(Fault(stall_after=0), True, id="after the headers"),
]


@pytest.mark.parametrize(("fault", "stream"), LEAVING)
async def test_a_disconnect_is_noticed_immediately(simulator: Simulator, fault: Fault, stream: bool) -> None:
    simulator.fault(fault)
    async with connected(simulator) as client:
        leaving = asyncio.create_task(lines(client, GENERATE, stream=stream))
        call = await simulator.received("/api/generate")
        await asyncio.sleep(0.05)
        assert simulator.open_calls == 1
        left = time.perf_counter()
        leaving.cancel()
        await ended(call)
        assert time.perf_counter() - left < SOON
    assert call.outcome == "client_gone"
    assert simulator.open_calls == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_disconnect_between_tokens_is_noticed(simulator: Simulator, stream: bool) -> None:
    simulator.seconds_per_token = 1.0
    async with connected(simulator) as client:
        leaving = asyncio.create_task(lines(client, GENERATE, stream=stream))
        call = await simulator.received("/api/generate")
        await asyncio.sleep(0.02)
        leaving.cancel()
        assert (await ended(call)).outcome == "client_gone"


async def test_an_endless_stream_waits_for_a_reader_that_does_not_read(simulator: Simulator) -> None:
    simulator.fault(Fault(endless=True))
    reader, writer = await asyncio.open_connection(simulator.host, simulator.port, limit=1024)
    body = json.dumps(GENERATE).encode()
    writer.write(b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    call = await simulator.received("/api/generate")
    sent = -1
    async with asyncio.timeout(20):
        while sent != call.chunks_sent or not sent:
            sent = call.chunks_sent
            await asyncio.sleep(0.1)
    assert call.outcome is None
    writer.transport.abort()
    assert (await ended(call)).outcome == "client_gone"
    assert reader.exception() is None or isinstance(reader.exception(), ConnectionError)


async def test_stop_aborts_open_streams_and_start_uses_the_same_port(simulator: Simulator) -> None:
    url = simulator.url
    async with aiohttp.ClientSession(url) as client:
        await whole(client, CHAT)
        simulator.fault(Fault(stall_after=1))
        reading = asyncio.create_task(lines(client, GENERATE))
        await simulator.received("/api/generate")
        began = time.perf_counter()
        await simulator.stop()
        assert time.perf_counter() - began < SOON
        with pytest.raises(aiohttp.ClientError):
            await reading
        assert simulator.calls[-1].outcome == "reset"
        with pytest.raises(aiohttp.ClientConnectorError):
            await whole(client, GENERATE)
        await simulator.start()
        assert simulator.url == url
        await whole(client, GENERATE)
    connections = [call.connection for call in simulator.calls]
    assert connections[-1] not in connections[:-1]


async def test_start_and_stop_can_be_repeated() -> None:
    simulator = Simulator()
    await simulator.stop()
    await simulator.start()
    port = simulator.port
    await simulator.start()
    assert simulator.port == port
    await simulator.stop()
    await simulator.stop()
    assert simulator.open_connections == 0


@pytest.mark.every_loop
@pytest.mark.parametrize("turns", range(8))
async def test_stopping_ends_a_connection_that_is_being_accepted(turns: int) -> None:
    simulator = Simulator()
    await simulator.start()
    with socket.create_connection(("127.0.0.1", simulator.port)) as client:
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(SOON):
            await simulator.stop()
        client.settimeout(SOON)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.to_thread(client.recv, 1) == b""

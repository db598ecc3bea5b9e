"""Cancelled streams: the data that Ollama has already sent is read before the connection is closed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.ollama.client import ClientOptions, OllamaClient

LINE = b'{"response":"' + b"x" * 4000 + b'","done":false}\n'
MEGABYTES_28 = 7000  # more than the buffers between hold
CHUNK = b"%x\r\n%s\r\n" % (len(LINE), LINE)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"


class Writer:
    """A server that writes one stream."""

    def __init__(self, *, lines: int | None) -> None:
        self._lines = lines
        self.has_written_all = asyncio.Event()
        self.has_ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        try:
            written = 0
            while written != self._lines:
                writer.write(CHUNK)
                await writer.drain()
                written += 1
            self.has_written_all.set()
            await reader.read()  # the end of the connection
        except ConnectionError:
            pass
        finally:
            self.has_ended.set()
            writer.transport.abort()


@asynccontextmanager
async def given_up(writer: Writer) -> AsyncIterator[None]:
    """Give up a stream that was not read until its writer had to wait."""
    server = await asyncio.start_server(writer.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, OllamaClient(ClientOptions(base_url=f"http://127.0.0.1:{port}")) as client:
        async with client.stream("/api/generate", {}):
            await asyncio.sleep(0.3)
            assert not writer.has_written_all.is_set()
            assert not writer.has_ended.is_set()
        yield


@pytest.mark.every_loop
async def test_what_the_server_had_to_wait_with_is_read_before_the_connection_is_closed() -> None:
    writer = Writer(lines=MEGABYTES_28)
    async with given_up(writer), asyncio.timeout(10):
        await writer.has_ended.wait()
    assert writer.has_written_all.is_set()


@pytest.mark.every_loop
async def test_a_stream_without_end_is_closed_all_the_same() -> None:
    writer = Writer(lines=None)
    async with given_up(writer), asyncio.timeout(10):
        await writer.has_ended.wait()

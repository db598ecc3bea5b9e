"""Calls of the client, and servers that send given bytes."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.ollama.client import OllamaClient
from simulator import Call, Simulator
from tests.kinds import PATIENCE_SECONDS

PATH = "/api/generate"
BODY = {"model": "llama3.1", "prompt": "Hi"}
Ask = Callable[[OllamaClient], Awaitable[Any]]
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"done":true}'
Respond = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def whole(transport: OllamaClient) -> dict[str, Any]:
    return await transport.post(PATH, BODY | {"stream": False})


async def streamed(transport: OllamaClient) -> list[dict[str, Any]]:
    chunks = []
    async with transport.stream(PATH, BODY | {"stream": True}) as reader:
        while found := await reader.read():
            chunks += found
    return chunks


either = pytest.mark.parametrize("ask", [whole, streamed])


@asynccontextmanager
async def listening(respond: Respond, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Yield the address of a server; its handlers are ended on exit."""
    served: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await respond(reader, writer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*filter(None, served))


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """Yield the address of a server that sends the same bytes after each request head."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with listening(respond) as url:
        yield url


def calls(simulator: Simulator) -> list[Call]:
    return simulator.calls_to(PATH)

"""Raw HTTP/1.1, for requests that no client library sends."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

SECONDS = 10


@dataclass(frozen=True)
class RawAnswer:
    """A raw response with its decoded body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the JSON of the body."""
        return json.loads(self.body)


class Connection:
    """One connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes unchanged."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, to_head: bool = False) -> RawAnswer:
        """Read one response."""
        async with asyncio.timeout(SECONDS):
            status_line, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            return RawAnswer(int(status_line.split()[1]), headers, b"" if to_head else await self._body(headers))

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") != "chunked":
            return await self.reader.read()
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return body

    async def is_closed(self) -> bool:
        """Wait until the server closes the connection; it must not send anything before."""
        async with asyncio.timeout(SECONDS):
            return await self.reader.read(1) == b""


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Connection]:
    """Open a connection to a server."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()


def post_head(path: str, *headers: str, length: int | None = None) -> bytes:
    """Return the head of a POST request with JSON."""
    lines = [f"POST {path} HTTP/1.1", "Host: service", "Content-Type: application/json", *headers]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


async def alive(connection: Connection) -> bool:
    """Return whether the next request on the connection gets its own response."""
    await connection.send(b"GET /health/live HTTP/1.1\r\nHost: service\r\n\r\n")
    answer = await connection.answer()
    return answer.status == 200 and answer.json() == {"alive": True}

"""Minimal HTTP client that records when each token arrives.

It supports the subset of HTTP/1.1 that the benchmarks need: one request at a time per keep-alive connection, and
responses that are chunked or have a Content-Length. Each token of a paced stream contains the time at which it was sent
(`@nanoseconds`), whatever the response format.
"""

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import Self, cast

_HEAD_END = b"\r\n\r\n"
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_SENT_AT = re.compile(rb"@(\d+) ")
_LONGEST_TOKEN = 32


@dataclass(frozen=True, slots=True)
class Target:
    """A request: its destination and content."""

    port: int
    path: str
    body: bytes
    accept: str = "application/json"

    @property
    def url(self) -> str:
        """Base URL of the server."""
        return f"http://127.0.0.1:{self.port}{self.path}"

    def render(self) -> bytes:
        """Return the bytes of the HTTP request."""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAccept: {self.accept}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


@dataclass(slots=True)
class Response:
    """A response, with the times at which its tokens arrived."""

    sent_ns: int
    status: int = 0
    first_token_ns: int = 0
    complete: bool = False
    body: bytearray = field(default_factory=bytearray)
    token_delays_ns: list[int] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._tail = b""
        self._remaining: int | None = None
        self.response = Response(0)
        self._finished: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, port: int) -> Self:
        """Connect to a port on loopback."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, "127.0.0.1", port)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """End the response; `complete` stays false."""
        self._transport = None
        self._finish()

    async def send(self, request: bytes) -> Response:
        """Send a request and wait for the end of its response."""
        self.response = Response(sent_ns=time.monotonic_ns())
        self._head, self._tail, self._remaining = b"", b"", None
        if self._transport is None:
            return self.response
        self._finished = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._finished
        return self.response

    def close(self) -> None:
        """Abort the connection, even during a response."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse the head, then collect the body."""
        if self.response.status == 0:
            self._head += data
            end = self._head.find(_HEAD_END)
            if end < 0:
                return
            head, data = self._head[:end], self._head[end + len(_HEAD_END) :]
            self.response.status = int(head[9:12])
            length = _CONTENT_LENGTH.search(head)
            self._remaining = int(length[1]) if length else None
        self._take_body(data)

    def _take_body(self, data: bytes) -> None:
        response = self.response
        now_ns = time.monotonic_ns()
        scan = self._tail + data
        end = 0
        for token in _SENT_AT.finditer(scan):
            response.first_token_ns = response.first_token_ns or now_ns
            response.token_delays_ns.append(now_ns - int(token[1]))
            end = token.end()
        # Keep the end, which may be the start of a token or of the last chunk.
        self._tail = scan[max(end, len(scan) - _LONGEST_TOKEN) :]
        response.body += data
        if self._remaining is None:
            response.complete = response.body.endswith(_LAST_CHUNK)
        else:
            response.complete = len(response.body) >= self._remaining
        if response.complete:
            self._finish()

    def _finish(self) -> None:
        if self._finished is not None and not self._finished.done():
            self._finished.set_result(None)


async def send_once(target: Target) -> Response:
    """Send one request on a new connection."""
    connection = await Connection.open(target.port)
    try:
        return await connection.send(target.render())
    finally:
        connection.close()

"""Sending responses over a connection, including the faults that affect the transport."""

import asyncio
import itertools
import socket
import struct
from collections.abc import Mapping
from typing import NoReturn

from aiohttp import web

from simulator.calls import Call
from simulator.faults import NO_FAULT
from simulator.wire.replies import JSON_BARE, NDJSON, Reply, Stream, dumps, error_reply

_UNCHUNKED_BYTES = 2048
"""Go's server sends `Content-Length` for bodies up to this size, and larger ones chunked."""
_BURST_LINES = 16
"""Lines sent before other tasks may run, if there is no delay between tokens."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def reset(transport: asyncio.WriteTransport | None) -> None:
    """Abort a connection so that its peer sees RST."""
    if transport is None:
        return
    tcp: socket.socket | None = transport.get_extra_info("socket")
    if tcp is not None:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


async def _silence() -> NoReturn:
    """Wait until the handler is cancelled, which happens when the connection closes."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError("unreachable: the future is never completed")


class _Response(web.StreamResponse):
    """A response without a `Server` header, as Ollama's."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        del self.headers["Server"]


class Delivery:
    """Sends the response to one request, and applies its fault."""

    def __init__(self, request: web.BaseRequest, call: Call) -> None:
        self._request = request
        self._call = call
        self._loop = asyncio.get_running_loop()
        self.fault = NO_FAULT

    async def before_answer(self) -> Reply | None:
        """Apply what the fault does before the response; return the response it substitutes, if any."""
        fault = self.fault
        if fault.reset_after and self._request.transport is not None:
            # With this limit `drain` waits until all is sent, so a reset loses nothing.
            self._request.transport.set_write_buffer_limits(high=0)
        if fault.delay_seconds:
            await asyncio.sleep(fault.delay_seconds)
        if fault.until is not None:
            await fault.until.wait()
        if fault.hang:
            await _silence()
        if fault.drop_reused or fault.reset_after == 0:
            await self._cut()
        if fault.garbage_status_line:
            await self._garbage()
        headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
        if fault.body is not None:
            return Reply(fault.body, fault.status or 200, fault.content_type, headers)
        if fault.status is not None:
            plain = error_reply(fault.status, fault.message)
            return Reply(plain.body, plain.status, plain.content_type, headers)
        return None

    async def send(self, reply: Reply | Stream) -> web.StreamResponse:
        """Send a response, up to where the fault interrupts it."""
        response = await (self._stream(reply) if isinstance(reply, Stream) else self._whole(reply))
        await response.write_eof()
        return response

    def after_answer(self) -> None:
        """Apply what the fault does after the response."""
        transport = self._request.transport
        if self.fault.close_after_response and transport is not None:
            transport.close()

    async def _whole(self, reply: Reply) -> web.StreamResponse:
        response = self._response(reply.status, reply.content_type, reply.headers)
        body = reply.body
        chunked = len(body) > _UNCHUNKED_BYTES or reply.content_type == JSON_BARE
        if self.fault.truncate_body:
            response.content_length = 2 * len(body) + 1
        elif chunked and self._request.method != "HEAD":
            response.enable_chunked_encoding()
        else:
            response.content_length = len(body)
        await response.prepare(self._request)
        if self._request.method == "HEAD":
            return response
        cut_at, how = self.fault.break_point()
        if how in {"reset", "stall"}:
            body = body[: len(body) // 2] if cut_at else b""
        await self._write(response, body)
        self._call.chunks_sent = 1
        if how in {"reset", "stall", "truncate"}:
            await self._break(how)
        return response

    async def _stream(self, stream: Stream) -> web.StreamResponse:
        response = self._response(200, NDJSON, {})
        await response.prepare(self._request)
        stop_at, how = self.fault.break_point()
        lines = itertools.islice(stream.lines, stop_at)
        sent = await (self._merged if self.fault.merge else self._by_line)(response, stream, lines)
        if sent == stop_at and how == "error":
            await self._write(response, dumps({"error": self.fault.message}) + b"\n")
        elif sent == stop_at and how in {"reset", "stall", "truncate"}:
            await self._break(how)
        return response

    async def _by_line(self, response: web.StreamResponse, stream: Stream, lines: "itertools.islice[bytes]") -> int:
        count = 0
        burst = 1 if self.fault.endless else _BURST_LINES
        for count, line in enumerate(lines, 1):
            if stream.seconds_per_line:
                await asyncio.sleep(stream.seconds_per_line)
            elif count % burst == 0:
                await asyncio.sleep(0)
            await self._write(response, line)
            self._call.chunks_sent = count
        return count

    async def _merged(self, response: web.StreamResponse, stream: Stream, lines: "itertools.islice[bytes]") -> int:
        together = list(lines)
        await asyncio.sleep(stream.seconds_per_line * len(together))
        await self._write(response, b"".join(together))
        self._call.chunks_sent = len(together)
        return len(together)

    def _response(self, status: int, content_type: str | None, headers: Mapping[str, str]) -> web.StreamResponse:
        response = _Response(status=status, headers=headers)
        if content_type is not None:
            response.headers["Content-Type"] = content_type
        self._call.status = status
        return response

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
        if not data:
            return
        if self._call.first_byte is None:
            self._call.first_byte = self._loop.time()
        piece = self.fault.split_bytes
        if piece is None:
            await response.write(data)
            return
        for at in range(0, len(data), piece):
            await response.write(data[at : at + piece])
            # Twice, so that a reader in the same event loop reads each piece separately.
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def _break(self, how: str) -> NoReturn:
        """Interrupt the response here, without its end."""
        self._request.writer.send_headers()
        if how == "stall":
            await _silence()
        if how == "reset":
            await self._cut()
        await self._close()

    async def _cut(self) -> NoReturn:
        self._call.cut = True
        transport = self._request.transport
        await self._request.writer.drain()
        reset(transport)
        await _silence()

    async def _close(self) -> NoReturn:
        self._call.cut = True
        if self._request.transport is not None:
            self._request.transport.close()
        await _silence()

    async def _garbage(self) -> NoReturn:
        transport = self._request.transport
        if transport is not None:
            self._call.first_byte = self._loop.time()
            transport.write(b"\x15\x03\x01\x00\x02\x02 this is no HTTP at all\r\n\r\n")
        await self._close()

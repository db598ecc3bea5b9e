"""Pooled HTTP/1.1 connections to one server: aiohttp's connector and parser without its `ClientSession`.

`ClientSession` costs 60 to 80 µs more per request and cannot guarantee three things: a request is never sent twice once
a byte of the response has arrived, unsolicited bytes are rejected, and no request is retried silently. In exchange this
module depends on names that aiohttp does not document; the tests check them against real sockets:

- `aiohttp.client_proto.ResponseHandler`: `set_response_params`, `read`, `data_received`, `transport`, `close`,
  `_payload`, `_reading_paused`, `_buffer_paused`
- `aiohttp.connector.Connection`: `protocol`, `transport`, `release`, `close`
- `aiohttp.TCPConnector`: `connect`, `_factory`, `_loop`
- `aiohttp.ClientRequest` as the target of `connect`
- `aiohttp.StreamReader`: `on_eof`, `set_exception`, `_buffer`
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from yarl import URL

from services.ollama.error_mapping import map_aiohttp_error
from services.ollama.errors import OllamaConnectTimeoutError, OllamaError, OllamaUnavailableError

SWITCHING_PROTOCOLS, OK = 101, 200
SMALL_BODY_BYTES = 65_536  # up to here a copy of the body costs less than a second write
MANY_PARTS = 8  # each HTTP chunk is a separate part, which takes 1 µs to read; joining them first takes far less
DEAD_CONNECTION_SECONDS = 1.0  # after this time the request may have run
CATCH_UP_SECONDS = 0.5
QUIET_SECONDS = 0.005

WIRE_ERRORS = (aiohttp.ClientError, HttpProcessingError)


class DeadConnectionError(Exception):
    """A kept-alive connection turned out dead before any response byte."""


class ConnectionPool:
    """Pool of keep-alive connections to one server; `connector` are the options of aiohttp's connector."""

    def __init__(self, base_url: str, api_key: str | None, connect_timeout_seconds: float, **connector: Any) -> None:
        url = URL(base_url)
        self._connector = _Connector(**connector)
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout_seconds)
        self._target = aiohttp.ClientRequest(  # the server and the headers common to all requests
            "GET",
            url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else None,
            skip_auto_headers=["Accept-Encoding"],  # a proxy that compresses a stream delays it
            loop=asyncio.get_running_loop(),
        )
        self._prefix = url.raw_path.rstrip("/")
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in self._target.headers.items())

    async def request(self, method: str, path: str, data: bytes, headers: str = "") -> "Response":
        """Send a request and return its response, with its body unread; `headers` are further lines of its head.

        Raises:
            DeadConnectionError: if a kept-alive connection was dead; the request did not run.
            OllamaError: if there is no response.
        """
        if self._connector.closed:
            detail = "The connection to Ollama was closed meanwhile."
            raise OllamaUnavailableError(detail)
        head = f"{method} {self._prefix}{path} HTTP/1.1\r\n{self._headers}{headers}"
        if data:
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        try:
            connection = await self._connector.connect(self._target, [], self._timeout)
        except TimeoutError as error:
            seconds = self._timeout.connect
            detail = f"No connection to Ollama within {seconds:g} s (OLLAMA_CONNECT_TIMEOUT)."
            raise OllamaConnectTimeoutError(detail) from error
        except WIRE_ERRORS as error:
            raise map_aiohttp_error(error) from error
        protocol = connection.protocol
        assert isinstance(protocol, _PooledProtocol)  # noqa: S101 - set until the connection is released
        sent_at = time.monotonic()
        try:
            return await _exchange(connection, protocol, head.encode() + b"\r\n", data)
        except BaseException as error:
            _close(connection)
            is_early = time.monotonic() - sent_at < DEAD_CONNECTION_SECONDS
            if isinstance(error, aiohttp.ClientConnectionError) and protocol.may_have_been_dead and is_early:
                raise DeadConnectionError from error
            if isinstance(error, WIRE_ERRORS):
                raise map_aiohttp_error(error) from error
            raise

    async def close(self) -> None:
        """Close all connections."""
        await self._connector.close()


async def _exchange(connection: Connection, protocol: "_PooledProtocol", head: bytes, body: bytes) -> "Response":
    protocol.set_response_params(read_until_eof=True)
    protocol.send(head, body)
    message, content = await protocol.read()
    while message.code < OK and message.code != SWITCHING_PROTOCOLS:
        message, content = await protocol.read()
    content.on_eof(partial(_release, connection, protocol, message.code))
    return Response(connection, message.code, message.headers, content)


class Response:
    """A response whose body has not been read yet; failures while reading are raised as `OllamaError`."""

    def __init__(
        self, connection: Connection, status: int, headers: Mapping[str, str], content: aiohttp.StreamReader
    ) -> None:
        self._connection = connection
        self._content = content
        self.status = status
        self.headers = headers

    @property
    def is_at_end(self) -> bool:
        """Whether the complete body has been read."""
        return self._content.at_eof()

    async def read(self) -> bytes:
        """Return the complete body; the connection goes back to its pool, or is closed if this fails."""
        try:
            return await self._content.read()
        except aiohttp.ClientError as error:
            raise map_aiohttp_error(error) from error
        finally:
            self.close()

    async def read_some(self) -> bytes:
        """Return the bytes that have arrived, at least one; empty at the end of the body."""
        try:
            return await self._content.readany()
        except aiohttp.ClientError as error:
            raise map_aiohttp_error(error) from error

    def fail(self, error: OllamaError) -> None:
        """Raise an error in the pending `read_some`."""
        self._content.set_exception(error)

    def close(self) -> None:
        """Discard the rest of the body; the connection is closed unless the body is at its end."""
        _close(self._connection)


def _release(connection: Connection, protocol: "_PooledProtocol", status: int) -> None:
    """Return a connection to the pool, or close it if the response came before the request was written."""
    protocol.in_flight = False
    if protocol.is_written(status):
        connection.release()
    else:
        _close(connection)


def _close(connection: Connection) -> None:
    """Close a connection unless it is back in the pool; unwritten bytes of the request are dropped.

    A response that was not read as fast as it came is caught up with first, for a moment.
    """
    protocol = connection.protocol
    if isinstance(protocol, _PooledProtocol) and protocol.catches_up(partial(_abort, connection)):
        return
    _abort(connection)


def _abort(connection: Connection) -> None:
    if connection.transport is not None:
        connection.transport.abort()
    connection.close()


class _Connector(aiohttp.TCPConnector):
    """Connector whose connections use `_PooledProtocol`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = cast("partial[ResponseHandler]", partial(_PooledProtocol, loop=self._loop))


class _PooledProtocol(ResponseHandler):
    """aiohttp's connection protocol, extended to track what the server may have received."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.in_flight = False
        self._requests = 0
        self._has_response = False
        self._is_large = False
        self._discarded_at: float | None = None

    @property
    def may_have_been_dead(self) -> bool:
        """Whether the connection was reused, and no response byte has arrived for the last request."""
        return self._requests > 1 and not self._has_response

    def send(self, head: bytes, body: bytes) -> None:
        """Write a request.

        Do not write empty parts or use `writelines`: since Python 3.12 asyncio keeps an empty part in its buffer and
        spins the event loop for ever; before 3.12.9 `writelines` fails on a closing connection.
        """
        assert self.transport is not None  # noqa: S101 - the pool returns open connections
        self.in_flight = True
        self._requests += 1
        self._has_response = False
        self._is_large = len(body) > SMALL_BODY_BYTES
        if self._is_large:
            self.transport.write(head)
            self.transport.write(body)
        else:
            self.transport.write(head + body)

    def is_written(self, status: int) -> bool:
        """Whether the request has been written completely, given the status of its response.

        A TLS transport does not count bytes in the transport below it. A server that responds 200 has read the
        request; a large request that it rejects may still be buffered there.
        """
        if self.transport is None:
            return True
        if self._is_large and status != OK and self.transport.get_extra_info("sslcontext") is not None:
            return False
        return not self.transport.get_write_buffer_size()

    def catches_up(self, then: Callable[[], None]) -> bool:
        """Read and discard what the server has written, if reading was paused; return whether this is so.

        Ollama can lose a model's slot when the connection closes while its writer waits for room: the writer
        goes, and the part that makes the answer waits for it for ever. `then` is called once nothing more comes for a
        moment, or too much does. See https://github.com/ollama/ollama/issues/17131.
        """
        transport, loop = self.transport, self._loop
        if self._discarded_at is not None:
            return True
        if not (self._reading_paused or self._buffer_paused) or transport is None or transport.is_closing():
            return False
        give_up_at = loop.time() + CATCH_UP_SECONDS

        def look() -> None:
            now = loop.time()
            assert self._discarded_at is not None  # noqa: S101 - set below
            if transport.is_closing() or now - self._discarded_at >= QUIET_SECONDS or now > give_up_at:
                then()
            else:
                loop.call_later(QUIET_SECONDS, look)

        self._discarded_at = loop.time()
        transport.resume_reading()
        loop.call_later(QUIET_SECONDS, look)
        return True

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; unsolicited ones close the connection, as they could be taken for the next response."""
        if self._discarded_at is not None:
            self._discarded_at = self._loop.time()
            return
        if data and not self.in_flight:
            self.close()
            return
        self._has_response = self._has_response or bool(data)  # aiohttp calls this with b"" to resume parsing
        super().data_received(data)
        if type(self._payload) is aiohttp.StreamReader and len(self._payload._buffer) > MANY_PARTS:  # noqa: SLF001
            parts = self._payload._buffer  # noqa: SLF001
            joined = b"".join(parts)
            parts.clear()
            parts.append(joined)

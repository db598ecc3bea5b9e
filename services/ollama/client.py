"""The wire to Ollama: connections and requests. Only `connection_errors` knows aiohttp too."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self, cast

import aiohttp
import orjson
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from yarl import URL

from config import Settings
from services.call_stats import count_attempt
from services.ollama.answer_context import without_context
from services.ollama.connection_errors import map_aiohttp_error
from services.ollama.error_mapping import error_from_response, error_in
from services.ollama.errors import (
    InvalidRequestError,
    OllamaConnectTimeoutError,
    OllamaError,
    OllamaUnavailableError,
)
from services.ollama.retry import RETRYABLE, retry
from services.ollama.stream_reader import ChunkReader, invalid_response
from services.ollama.timeouts import deadline

logger = logging.getLogger(__name__)

CONTROL_CONNECTIONS = 16
KEEP_ALIVE_SECONDS = 60
HEALTH_SHARE = 0.97  # of its timeout, so that our own answer is in time too
SWITCHING_PROTOCOLS, OK = 101, 200
SMALL_BODY_BYTES = 65_536  # up to here a copy of the body costs less than a second write
DEAD_CONNECTION_SECONDS = 1.0  # later than that, the request may well have run

WIRE_ERRORS = (aiohttp.ClientError, HttpProcessingError)


class _DeadConnectionError(Exception):
    """A kept-alive connection turned out dead before any response byte."""


class OllamaClient:
    """Two pools of connections to one Ollama server: one for generation, a small one for health and model list.

    Bound to the event loop it was entered in.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def __aenter__(self) -> Self:
        limit = self._settings.ollama_max_connections
        self._generation = _Pool(self._settings, limit=limit, keepalive_timeout=KEEP_ALIVE_SECONDS)
        self._control = _Pool(self._settings, limit=CONTROL_CONNECTIONS, keepalive_timeout=KEEP_ALIVE_SECONDS)
        self._fresh = _Pool(self._settings, force_close=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for pool in (self._generation, self._fresh, self._control):
            await pool.close()

    async def get(self, path: str) -> Any:
        """Ask for health, version or models: without retries, on connections of their own.

        Raises:
            OllamaError: as `post`, but never for a busy queue.
        """
        seconds = self._settings.ollama_health_timeout
        async with deadline(seconds, "OLLAMA_HEALTH_TIMEOUT", path, share=HEALTH_SHARE):
            try:
                response = await self._attempt(self._control, "GET", path)
            except OllamaConnectTimeoutError as error:
                raise OllamaUnavailableError(error.detail) from error
            return _parsed(await response.read())

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send a request and read its whole answer.

        Raises:
            OllamaUnavailableError: it could not be reached, after the retries where they can help.
            OllamaBusyError: it answered 503 or 429, after the retries where they can help.
            OllamaTimeoutError: the answer took longer than OLLAMA_REQUEST_TIMEOUT.
            NotFoundError, NoSuchEndpointError: 404.
            RejectedByOllamaError: 400.
            OllamaResponseError: anything else that is no answer.
        """
        async with deadline(self._settings.ollama_request_timeout, "OLLAMA_REQUEST_TIMEOUT", "its answer"):
            response = await self._send(path, body)
            answer = _parsed(await response.read())
        if not isinstance(answer, dict):
            raise invalid_response()
        return answer

    @asynccontextmanager
    async def stream(self, path: str, body: dict[str, Any]) -> AsyncIterator[ChunkReader]:
        """Send a request and read its answer chunk by chunk; leaving closes the connection if it is not at its end.

        The first chunks have arrived when this is entered.

        Raises:
            OllamaError: as `post`.
        """
        async with deadline(self._settings.ollama_request_timeout, "OLLAMA_REQUEST_TIMEOUT", "the first chunk"):
            response = await self._send(path, body)
            reader = ChunkReader(response, self._settings.ollama_stream_idle_timeout)
            try:
                await reader.read_first()
            except BaseException:
                reader.close()
                raise
        try:
            yield reader
        finally:
            reader.close()

    async def _send(self, path: str, body: dict[str, Any]) -> "_Response":
        """Post, again where the last attempt certainly did not run."""
        try:
            data = orjson.dumps(body)
        except orjson.JSONEncodeError as error:
            detail = "The request is nested too deeply."
            raise InvalidRequestError(detail, field="body") from error
        give_up_at = time.monotonic() + self._settings.ollama_request_timeout
        attempt = partial(self._attempt, self._generation, "POST", path, data)
        count_attempt()
        try:
            return await attempt()
        except RETRYABLE as error:
            return await retry(
                attempt,
                error,
                attempts=self._settings.ollama_retry_attempts,
                backoff_seconds=self._settings.ollama_retry_backoff,
                give_up_at=give_up_at,
            )

    async def _attempt(self, pool: "_Pool", method: str, path: str, data: bytes = b"") -> "_Response":
        try:
            return await self._request(pool, method, path, data)
        except _DeadConnectionError:
            logger.info("a kept-alive connection was dead; sending again on a fresh one")
            return await self._request(self._fresh, method, path, data)

    async def _request(self, pool: "_Pool", method: str, path: str, data: bytes) -> "_Response":
        """Return the response if it is a 200, with its body unread."""
        try:
            response = await pool.request(method, path, data)
        except WIRE_ERRORS as error:
            raise map_aiohttp_error(error) from error
        if response.status != OK:
            try:
                body = await response.read()
            except OllamaError:
                body = b""  # the status says enough
            raise error_from_response(response.status, body, response.headers.get("Retry-After"))
        return response


class _Pool:
    """Connections to Ollama, and requests over them.

    aiohttp keeps the connections and reads the answers. Its ClientSession, which would write the requests, takes 35 µs
    for what none of ours has: redirects, cookies, proxies, bodies of any kind, middleware, a task that writes.
    """

    def __init__(self, settings: Settings, **connector: Any) -> None:
        key = settings.ollama_api_key
        url = URL(settings.ollama_base_url)
        self._connector = _Connector(**connector)
        self._timeout = aiohttp.ClientTimeout(total=None, connect=settings.ollama_connect_timeout)
        self._target = aiohttp.ClientRequest(  # says where all requests go, and what they have in common
            "GET",
            url,
            headers={"Authorization": f"Bearer {key.get_secret_value()}"} if key else None,
            skip_auto_headers=["Accept-Encoding"],  # a proxy that packs a stream holds it back
            loop=asyncio.get_running_loop(),
        )
        self._prefix = url.raw_path.rstrip("/")
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in self._target.headers.items())

    async def request(self, method: str, path: str, data: bytes) -> "_Response":
        """Send a request and return its response, with its body unread."""
        if self._connector.closed:
            detail = "The connection to Ollama was closed meanwhile."
            raise OllamaUnavailableError(detail)
        head = f"{method} {self._prefix}{path} HTTP/1.1\r\n{self._headers}"
        if data:
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        try:
            connection = await self._connector.connect(self._target, [], self._timeout)
        except TimeoutError as error:
            seconds = self._timeout.connect
            detail = f"No connection to Ollama within {seconds:g} s (OLLAMA_CONNECT_TIMEOUT)."
            raise OllamaConnectTimeoutError(detail) from error
        protocol = connection.protocol
        assert isinstance(protocol, _Protocol)  # noqa: S101 - it is lost only when the connection is given back
        sent_at = time.monotonic()
        try:
            return await _exchange(connection, protocol, head.encode() + b"\r\n", data)
        except BaseException as error:
            _close(connection)
            is_early = time.monotonic() - sent_at < DEAD_CONNECTION_SECONDS
            if isinstance(error, aiohttp.ClientConnectionError) and protocol.may_have_been_dead and is_early:
                raise _DeadConnectionError from error
            raise

    async def close(self) -> None:
        """Close all connections."""
        await self._connector.close()


async def _exchange(connection: Connection, protocol: "_Protocol", head: bytes, body: bytes) -> "_Response":
    protocol.set_response_params(read_until_eof=True)
    protocol.send(head, body)
    message, content = await protocol.read()
    while message.code < OK and message.code != SWITCHING_PROTOCOLS:
        message, content = await protocol.read()
    content.on_eof(partial(_give_back, connection, protocol, message.code))
    return _Response(connection, message.code, message.headers, content)


class _Response:
    """A response whose body is read from the wire; what goes wrong there is said in our words."""

    def __init__(
        self, connection: Connection, status: int, headers: Mapping[str, str], content: aiohttp.StreamReader
    ) -> None:
        self._connection = connection
        self._content = content
        self.status = status
        self.headers = headers

    async def read(self) -> bytes:
        """Return the whole body; the connection goes back to its pool, or is closed if this fails."""
        try:
            return await self._content.read()
        except aiohttp.ClientError as error:
            raise map_aiohttp_error(error) from error
        finally:
            self.close()

    async def read_some(self) -> bytes:
        """Return what has arrived, at least a byte; nothing at the end."""
        try:
            return await self._content.readany()
        except aiohttp.ClientError as error:
            raise map_aiohttp_error(error) from error

    def fail(self, error: OllamaError) -> None:
        """Have whoever waits in `read_some` get an error."""
        self._content.set_exception(error)

    def close(self) -> None:
        """Give up the rest of the body; the connection is closed unless it is at its end."""
        _close(self._connection)


def _give_back(connection: Connection, protocol: "_Protocol", status: int) -> None:
    """Let a connection serve again, unless the answer came before the request was written to its end."""
    protocol.in_flight = False
    if protocol.is_written(status):
        connection.release()
    else:
        _close(connection)


def _close(connection: Connection) -> None:
    """Close a connection, unless it has been given back; what of the request is not written yet is dropped."""
    if connection.transport is not None:
        connection.transport.abort()
    connection.close()


def _parsed(body: bytes) -> Any:
    try:
        document = orjson.loads(without_context(body))
    except orjson.JSONDecodeError as error:
        raise invalid_response() from error
    if isinstance(document, dict) and (failure := error_in(document)) is not None:
        raise failure
    return document


class _Connector(aiohttp.TCPConnector):
    """Makes connections that speak `_Protocol`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = cast("partial[ResponseHandler]", partial(_Protocol, loop=self._loop))


class _Protocol(ResponseHandler):
    """aiohttp's side of a connection, which knows what of it the server can have seen."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.in_flight = False
        self._requests = 0
        self._has_answered = False
        self._is_large = False

    @property
    def may_have_been_dead(self) -> bool:
        """Whether the connection has served before, and nothing has come back for the last request."""
        return self._requests > 1 and not self._has_answered

    def send(self, head: bytes, body: bytes) -> None:
        """Write a request.

        Never an empty part, and not with `writelines`: on asyncio's own loop, from Python 3.12 on, it keeps an empty
        part in its buffer and wakes the loop for it without end; before 3.12.9 it fails on a closing connection.
        """
        assert self.transport is not None  # noqa: S101 - the pool gives out connections that are open
        self.in_flight = True
        self._requests += 1
        self._has_answered = False
        self._is_large = len(body) > SMALL_BODY_BYTES
        if self._is_large:
            self.transport.write(head)
            self.transport.write(body)
        else:
            self.transport.write(head + body)

    def is_written(self, status: int) -> bool:
        """Whether all of the request that was answered with this status has left our buffers.

        A TLS transport does not count what it has passed on to the one below it. A server that answers 200 has read
        the request; a large one that it refuses may be stuck there.
        """
        if self.transport is None:
            return True
        if self._is_large and status != OK and self.transport.get_extra_info("sslcontext") is not None:
            return False
        return not self.transport.get_write_buffer_size()

    def data_received(self, data: bytes) -> None:
        """Take what the server says; words that nobody asked for must not become the next one's answer."""
        if data and not self.in_flight:
            self.close()
            return
        self._has_answered = self._has_answered or bool(data)  # aiohttp calls this with none to go on parsing
        super().data_received(data)

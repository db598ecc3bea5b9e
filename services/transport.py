"""The wire to Ollama: connections, deadlines, retries, and what its failures mean."""

import asyncio
import io
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from config import Settings
from services.errors import (
    OllamaBusyError,
    OllamaConnectTimeoutError,
    OllamaError,
    OllamaResponseError,
    OllamaTimeoutError,
    OllamaUnavailableError,
    RejectedByOllamaError,
)
from services.ndjson import LineSplitter, LineTooLongError

logger = logging.getLogger(__name__)

CONTROL_CONNECTIONS = 16
KEEP_ALIVE_SECONDS = 60
END_OF_BODY_SECONDS = 0.25
LARGE_BYTES = 1 << 20  # aiohttp wants larger bodies as files, and writes those in pieces
MAX_BACKOFF_SECONDS = 10
BUSY_RETRY_AFTER_SECONDS = 5.0
MAX_RETRY_AFTER_SECONDS = 3600.0
ADDRESS = re.compile(
    r"""\w+://[^\s"']+ | \b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b | \[[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(%\w+)?\](:\d+)?
    | \blocalhost(:\d+)?\b | (?<=\blookup\ )\S+
    | registry\.ollama\.ai/(library/)? | (?<![\w/])/([\w.-]+/)+[\w.-]*""",
    re.VERBOSE,
)


RETRIED = (OllamaUnavailableError, OllamaBusyError)

connection_is_reused: ContextVar[bool] = ContextVar("connection_is_reused", default=False)


class NotFoundError(OllamaError):
    """Ollama answered 404 in JSON: it does not have the model."""


class NoSuchEndpointError(OllamaError):
    """Ollama answered 404 in plain text: it is too old for the endpoint."""


class _DeadConnectionError(OllamaResponseError):
    """A kept-alive connection turned out dead before any response byte."""


@asynccontextmanager
async def deadline(seconds: float, setting: str, waiting_for: str) -> AsyncIterator[None]:
    """Limit what runs inside.

    Raises:
        OllamaTimeoutError: naming the setting, when the time is over.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise _too_late(seconds, setting, waiting_for) from error


def _too_late(seconds: float, setting: str, waiting_for: str) -> OllamaTimeoutError:
    return OllamaTimeoutError(f"Ollama took longer than {seconds:g} s for {waiting_for} ({setting}).")


class Transport:
    """Two pools of connections to one Ollama server: one for generation, a small one for health and model list.

    Bound to the event loop it was entered in.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._base_url = settings.ollama_base_url

    async def __aenter__(self) -> Self:
        generation = _Connector(limit=self._settings.ollama_max_connections, keepalive_timeout=KEEP_ALIVE_SECONDS)
        control = aiohttp.TCPConnector(limit=CONTROL_CONNECTIONS, keepalive_timeout=KEEP_ALIVE_SECONDS)
        self._generation = self._session(generation)
        self._control = self._session(control)
        self._fresh = self._session(aiohttp.TCPConnector(force_close=True))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for session in (self._generation, self._fresh, self._control):
            await session.close()

    def _session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        key = self._settings.ollama_api_key
        return aiohttp.ClientSession(
            connector=connector,
            headers={"Authorization": f"Bearer {key.get_secret_value()}"} if key else None,
            timeout=aiohttp.ClientTimeout(total=None, connect=self._settings.ollama_connect_timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def get(self, path: str) -> Any:
        """Ask for health, version or models: one attempt, on connections of their own.

        Raises:
            OllamaError: as `post`, but never for a busy queue.
        """
        seconds = self._settings.ollama_health_timeout
        async with deadline(seconds, "OLLAMA_HEALTH_TIMEOUT", path):
            response = await self._request(self._control, "GET", path)
            return await _read_json(response)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send a request and read its whole answer.

        Raises:
            OllamaUnavailableError: it could not be reached, after the retries.
            OllamaBusyError: it answered 503 or 429, after the retries.
            OllamaTimeoutError: the answer took longer than OLLAMA_REQUEST_TIMEOUT.
            NotFoundError, NoSuchEndpointError: 404.
            RejectedByOllamaError: 400.
            OllamaResponseError: anything else that is no answer.
        """
        async with deadline(self._settings.ollama_request_timeout, "OLLAMA_REQUEST_TIMEOUT", "its answer"):
            response = await self._send(path, body)
            answer = await _read_json(response)
        if not isinstance(answer, dict):
            raise _garbage()
        return answer

    @asynccontextmanager
    async def stream(self, path: str, body: dict[str, Any]) -> AsyncIterator["ChunkReader"]:
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
                response.close()
                raise
        try:
            yield reader
        finally:
            response.close()

    async def _send(self, path: str, body: dict[str, Any]) -> aiohttp.ClientResponse:
        """Post, again where the last attempt certainly did not run.

        The first attempt is made without tenacity, which adds 35 µs to a call.
        """
        data = orjson.dumps(body)
        try:
            return await self._attempt(path, data)
        except RETRIED as error:
            return await self._retry(path, data, error)

    async def _retry(self, path: str, data: bytes, first_error: OllamaError) -> aiohttp.ClientResponse:
        outcomes = iter([first_error])

        async def attempt() -> aiohttp.ClientResponse:
            for error in outcomes:
                raise error
            return await self._attempt(path, data)

        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._settings.ollama_retry_attempts),
            wait=wait_exponential_jitter(
                multiplier=self._settings.ollama_retry_backoff,
                max=MAX_BACKOFF_SECONDS,
                jitter=self._settings.ollama_retry_backoff,
            ),
            retry=retry_if_exception_type(RETRIED),
            before_sleep=_log_retry,
            reraise=True,
        )
        return await retrying(attempt)

    async def _attempt(self, path: str, data: bytes) -> aiohttp.ClientResponse:
        try:
            return await self._request(self._generation, "POST", path, data)
        except _DeadConnectionError:
            logger.info("a kept-alive connection was dead; sending again on a fresh one")
            return await self._request(self._fresh, "POST", path, data)

    async def _request(
        self, session: aiohttp.ClientSession, method: str, path: str, data: bytes | None = None
    ) -> aiohttp.ClientResponse:
        """Return the response if it is a 200, with its body unread."""
        try:
            with _wire_errors(f"{self._settings.ollama_connect_timeout:g} s"):
                response = await session.request(
                    method,
                    self._base_url + path,
                    data=data if data is None or len(data) < LARGE_BYTES else io.BytesIO(data),
                    headers={"Content-Type": "application/json"} if data else None,
                    allow_redirects=False,
                )
        except OllamaResponseError as error:
            if connection_is_reused.get() and isinstance(error.__cause__, aiohttp.ClientConnectionError):
                raise _DeadConnectionError(error.detail) from error
            raise
        if response.status != 200:  # noqa: PLR2004 - the one status of success
            raise await _refusal(response)
        return response


class _Connector(aiohttp.TCPConnector):
    """Notes whether a request goes over a connection that has served before; aiohttp's tracing costs more."""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Return a connection for a request."""
        connection_is_reused.set(True)
        return await super().connect(req, traces, timeout)

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        connection_is_reused.set(False)
        return await super()._create_connection(req, traces, timeout)


class ChunkReader:
    """The JSON objects of one answer, in batches: what arrived together is read together."""

    def __init__(self, response: aiohttp.ClientResponse, idle_seconds: float) -> None:
        self._content = response.content
        self._idle_seconds = idle_seconds
        self._splitter = LineSplitter()
        self._first: list[dict[str, Any]] = []
        self._failure: OllamaError | None = None

    async def read_first(self) -> None:
        """Wait for the first chunks; `read` then gives them at once.

        Raises:
            OllamaError: as `read`, and if there is none.
        """
        self._first = await self._read()
        if not self._first:
            raise OllamaResponseError("Ollama's answer ended before it began.")

    async def read(self) -> list[dict[str, Any]]:
        """Return the next chunks, at least one; none at the end of the body.

        Raises:
            OllamaTimeoutError: after OLLAMA_STREAM_IDLE_TIMEOUT of silence.
            OllamaResponseError: an error line, garbage, or the connection broke.
        """
        if self._first:
            chunks, self._first = self._first, []
            return chunks
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await self._read()
        except TimeoutError as error:
            raise _too_late(self._idle_seconds, "OLLAMA_STREAM_IDLE_TIMEOUT", "the next chunk") from error

    async def read_to_end(self) -> None:
        """Read the end of the body after the last chunk, so that the connection can serve again."""
        with suppress(TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(END_OF_BODY_SECONDS):
                while not self._content.at_eof():
                    await self._content.readany()

    async def _read(self) -> list[dict[str, Any]]:
        if self._failure is not None:
            raise self._failure
        with _wire_errors():
            while data := await self._content.readany():
                if lines := self._splitter.feed(data):
                    return self._parse(lines)
            rest = self._splitter.rest()
            return self._parse([rest]) if rest else []

    def _parse(self, lines: list[bytes]) -> list[dict[str, Any]]:
        """Parse lines up to a bad one; what came before it is not lost."""
        chunks: list[dict[str, Any]] = []
        try:
            chunks.extend(map(_chunk, lines))
        except OllamaError as error:
            if not chunks:
                raise
            self._failure = error
        return chunks


def _chunk(line: bytes) -> dict[str, Any]:
    try:
        chunk = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _garbage() from error
    if not isinstance(chunk, dict):
        raise _garbage()
    if "error" in chunk:
        raise OllamaResponseError(f"Ollama failed: {_clean(chunk['error'])}", status=500)
    return chunk


async def _read_json(response: aiohttp.ClientResponse) -> Any:
    async with response:
        with _wire_errors():
            body = await response.read()
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _garbage() from error
    return answer


async def _refusal(response: aiohttp.ClientResponse) -> OllamaError:
    """Read the body of an answer that is not 200 and say what it means."""
    async with response:
        with _wire_errors():
            body = await response.read()
    try:
        message = _clean(orjson.loads(body)["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message = None
    match response.status:
        case 503 | 429:
            return OllamaBusyError(
                "Ollama is busy and takes no more requests at the moment.",
                retry_after_seconds=_retry_after(response.headers.get("Retry-After")),
            )
        case 404 if message is not None:
            return NotFoundError(message)
        case 404:
            return NoSuchEndpointError("Ollama does not have this endpoint; it may be too old, or not Ollama.")
        case 400 if message is not None:
            return RejectedByOllamaError(f"Ollama refused the request: {message}")
        case status:
            reason = f": {message}" if message else "."
            return OllamaResponseError(f"Ollama answered with status {status}{reason}", status=status)


@contextmanager
def _wire_errors(connect_limit: str = "") -> Iterator[None]:
    """Say in our words what went wrong in aiohttp's."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        detail = f"No connection to Ollama within {connect_limit} (OLLAMA_CONNECT_TIMEOUT)."
        raise OllamaConnectTimeoutError(detail) from error
    except aiohttp.ClientConnectorError as error:
        raise OllamaUnavailableError("Ollama could not be reached.") from error
    except aiohttp.ClientConnectionError as error:
        raise OllamaResponseError("Ollama closed the connection before its answer.") from error
    except aiohttp.ClientPayloadError as error:
        raise OllamaResponseError("Ollama's answer was cut short.") from error
    except (aiohttp.ClientError, LineTooLongError) as error:
        raise _garbage() from error


def _garbage() -> OllamaResponseError:
    return OllamaResponseError("Ollama's answer could not be understood.")


def _clean(message: object) -> str:
    """Return the first line of Ollama's own words, without addresses, paths and the JSON its runner wraps them in."""
    text = str(message)
    with suppress(orjson.JSONDecodeError, KeyError, TypeError):
        text = str(orjson.loads(text)["error"]["message"])
    return ADDRESS.sub("", text.partition("\n")[0])


def _retry_after(header: str | None) -> float:
    if header is None or not header.isdecimal():
        return BUSY_RETRY_AFTER_SECONDS
    return min(float(header), MAX_RETRY_AFTER_SECONDS)


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome and state.outcome.exception()
    seconds = state.next_action.sleep if state.next_action else 0
    logger.warning("attempt %d failed, next in %.1f s: %s", state.attempt_number, seconds, error)

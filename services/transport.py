"""The wire to Ollama: connections, deadlines, retries, and what its failures mean."""

import asyncio
import io
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from aiohttp.client_proto import ResponseHandler
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
    InvalidRequestError,
    OllamaBusyError,
    OllamaConnectTimeoutError,
    OllamaError,
    OllamaResponseError,
    OllamaTimeoutError,
    OllamaUnavailableError,
)
from services.ndjson import LineSplitter, LineTooLongError
from services.refusals import ollamas_words, refusal

logger = logging.getLogger(__name__)

CONTROL_CONNECTIONS = 16
KEEP_ALIVE_SECONDS = 60
HEALTH_SHARE = 0.97  # of its timeout, so that our own answer is in time too
END_OF_BODY_SECONDS = 0.25
DEAD_CONNECTION_SECONDS = 1.0  # later than that, the request may well have run
LARGE_BYTES = 1 << 20  # aiohttp wants larger bodies as files, and writes those in pieces
MAX_BACKOFF_SECONDS = 10


WIRE_ERRORS = (aiohttp.ClientError, LineTooLongError)
RETRIED = (OllamaUnavailableError, OllamaBusyError)

connection_is_reused: ContextVar[bool] = ContextVar("connection_is_reused", default=False)


class _DeadConnectionError(OllamaResponseError):
    """A kept-alive connection turned out dead before any response byte."""


class deadline:  # noqa: N801 - read as what it does; a class, for a generator costs 3 µs more
    """Limit what runs inside to a share of a setting.

    Raises:
        OllamaTimeoutError: naming the setting, when the time is over.
    """

    def __init__(self, seconds: float, setting: str, waiting_for: str, *, share: float = 1) -> None:
        self._limit = asyncio.timeout(seconds * share)
        self._meaning = (seconds, setting, waiting_for)

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._limit.__aexit__(kind, error, traceback)
        except TimeoutError as timeout:
            raise _too_late(*self._meaning) from timeout


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
        async with deadline(seconds, "OLLAMA_HEALTH_TIMEOUT", path, share=HEALTH_SHARE):
            try:
                response = await self._request(self._control, "GET", path)
            except OllamaConnectTimeoutError as error:
                raise OllamaUnavailableError(error.detail) from error
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
                reader.close()
                raise
        try:
            yield reader
        finally:
            reader.close()

    async def _send(self, path: str, body: dict[str, Any]) -> aiohttp.ClientResponse:
        """Post, again where the last attempt certainly did not run.

        The first attempt is made without tenacity, which adds 35 µs to a call.
        """
        try:
            data = orjson.dumps(body)
        except orjson.JSONEncodeError as error:
            detail = "The request is nested too deeply."
            raise InvalidRequestError(detail, field="body") from error
        try:
            return await self._attempt(path, data)
        except RETRIED as error:
            return await self._retry(path, data, error)

    async def _retry(self, path: str, data: bytes, first_error: OllamaError) -> aiohttp.ClientResponse:
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
        async for attempt in retrying:
            with attempt:
                if attempt.retry_state.attempt_number == 1:
                    raise first_error
                return await self._attempt(path, data)
        raise first_error  # not reached: tenacity raises the last error itself

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
        sent_at = time.monotonic()
        connection_is_reused.set(True)
        try:
            response = await session.request(
                method,
                self._base_url + path,
                data=data if data is None or len(data) < LARGE_BYTES else io.BytesIO(data),
                headers={"Content-Type": "application/json"} if data else None,
                allow_redirects=False,
            )
        except WIRE_ERRORS as error:
            meaning = _meaning(error, f"{self._settings.ollama_connect_timeout:g} s")
            if (
                isinstance(meaning, OllamaResponseError)
                and isinstance(error, aiohttp.ClientConnectionError)
                and connection_is_reused.get()
                and time.monotonic() - sent_at < DEAD_CONNECTION_SECONDS
            ):
                raise _DeadConnectionError(meaning.detail) from error
            raise meaning from error
        if response.status != 200:  # noqa: PLR2004 - the one status of success
            raise refusal(response.status, await _read(response), response.headers.get("Retry-After"))
        return response


class _Connector(aiohttp.TCPConnector):
    """Notes that a request goes over a new connection, not one that has served before; aiohttp's tracing costs more."""

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        connection_is_reused.set(False)
        return await super()._create_connection(req, traces, timeout)


class ChunkReader:
    """The JSON objects of one answer, in batches: what arrived together is read together."""

    def __init__(self, response: aiohttp.ClientResponse, idle_seconds: float) -> None:
        self._response = response
        self._content = response.content
        self._idle_seconds = idle_seconds
        self._loop = asyncio.get_running_loop()
        self._idle_check: asyncio.TimerHandle | None = None
        self._waiting_since: float | None = None
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
        self._waiting_since = self._loop.time()
        if self._idle_check is None:
            self._idle_check = self._loop.call_later(self._idle_seconds, self._check_idle)
        try:
            return await self._read()
        finally:
            self._waiting_since = None

    async def read_to_end(self) -> None:
        """Read the end of the body after the last chunk, so that the connection can serve again."""
        with suppress(TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(END_OF_BODY_SECONDS):
                while not self._content.at_eof():
                    await self._content.readany()

    def close(self) -> None:
        """Give up the rest of the body; the connection is closed unless it is at its end."""
        if self._idle_check is not None:
            self._idle_check.cancel()
        self._response.close()

    def _check_idle(self) -> None:
        """Fail the read that has waited too long.

        One timer a stream, set anew when it fires: one for each read costs 7 µs a token.
        """
        now = self._loop.time()
        due = (self._waiting_since or now) + self._idle_seconds
        if due > now:
            self._idle_check = self._loop.call_at(due, self._check_idle)
        else:
            self._content.set_exception(_too_late(self._idle_seconds, "OLLAMA_STREAM_IDLE_TIMEOUT", "the next chunk"))

    async def _read(self) -> list[dict[str, Any]]:
        if self._failure is not None:
            raise self._failure
        try:
            while data := await self._content.readany():
                if lines := self._splitter.feed(data):
                    return self._parse(lines)
        except WIRE_ERRORS as error:
            raise _meaning(error) from error
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
        raise OllamaResponseError(f"Ollama failed: {ollamas_words(chunk['error'])}", status=500)
    return chunk


async def _read_json(response: aiohttp.ClientResponse) -> Any:
    body = await _read(response)
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _garbage() from error
    return answer


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the whole body; the connection goes back to its pool, or is closed if this fails."""
    try:
        return await response.read()
    except WIRE_ERRORS as error:
        raise _meaning(error) from error


def _meaning(error: Exception, connect_limit: str = "") -> OllamaError:
    """Return our error for one of aiohttp's."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return OllamaConnectTimeoutError(
                f"No connection to Ollama within {connect_limit} (OLLAMA_CONNECT_TIMEOUT)."
            )
        case aiohttp.ClientConnectorError():
            return OllamaUnavailableError("Ollama could not be reached.")
        case aiohttp.ClientConnectionError():
            return OllamaResponseError("Ollama closed the connection before its answer.")
        case aiohttp.ClientPayloadError():
            return OllamaResponseError("Ollama's answer was cut short.")
        case _:
            return _garbage()


def _garbage() -> OllamaResponseError:
    return OllamaResponseError("Ollama's answer could not be understood.")


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome and state.outcome.exception()
    seconds = state.next_action.sleep if state.next_action else 0
    logger.warning("attempt %d failed, next in %.1f s: %s", state.attempt_number, seconds, error)

"""HTTP client for one Ollama server: complete and streamed responses, timeouts and retries."""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

import orjson

from services.ollama.connection_pool import OK, ConnectionPool, DeadConnectionError, Response
from services.ollama.error_mapping import BUSY_STATUSES, error_from_response, error_in, invalid_response
from services.ollama.errors import (
    InvalidRequestError,
    OllamaBusyError,
    OllamaConnectTimeoutError,
    OllamaError,
    OllamaUnavailableError,
)
from services.ollama.ndjson import without_context
from services.ollama.raw_response import RawResponse
from services.ollama.retry import RETRYABLE, retry
from services.ollama.stream_reader import StreamReader
from services.ollama.timeouts import deadline

logger = logging.getLogger(__name__)

CONTROL_CONNECTIONS = 16
KEEP_ALIVE_SECONDS = 60
HEALTH_SHARE = 0.97  # of the timeout, which leaves time for our own response


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """How to reach an Ollama server; timeouts in seconds, see the settings of the same names."""

    base_url: str
    api_key: str | None = None
    max_connections: int = 10
    connect_timeout: float = 5
    request_timeout: float = 300
    stream_idle_timeout: float = 60
    health_timeout: float = 5
    retry_attempts: int = 3
    retry_backoff: float = 0.5


class OllamaClient:
    """Sends requests to one Ollama server; bound to the event loop it was entered in.

    Generation has its own connection pool, so that it cannot starve health checks and the model list.
    `on_attempt` is called for each generation request that is sent, with `is_retry=True` from the second attempt on.
    """

    def __init__(self, options: ClientOptions, on_attempt: Callable[..., None] = lambda **_: None) -> None:
        self._options = options
        self._on_attempt = on_attempt

    async def __aenter__(self) -> Self:
        options = self._options
        make = partial(ConnectionPool, options.base_url, options.api_key, options.connect_timeout)
        self._generation = make(limit=options.max_connections, keepalive_timeout=KEEP_ALIVE_SECONDS)
        self._control = make(limit=CONTROL_CONNECTIONS, keepalive_timeout=KEEP_ALIVE_SECONDS)
        self._fresh = make(force_close=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for pool in (self._generation, self._fresh, self._control):
            await pool.close()

    async def get(self, path: str) -> Any:
        """Send a GET (health, version, model list) without retries, on a separate pool.

        Raises:
            OllamaError: as `post`.
        """
        return await self._control_json("GET", path)

    async def show(self, model: str) -> Any:
        """Ask what a model is, without loading it and without retries.

        See https://docs.ollama.com/api-reference/show-model-details.

        Raises:
            OllamaError: as `post`.
        """
        return await self._control_json("POST", "/api/show", orjson.dumps({"model": model}))

    async def post_control(self, path: str, body: dict[str, Any]) -> Any:
        """Send a POST that runs no model: as `get`.

        Raises:
            OllamaError: as `post`.
        """
        async with deadline(self._options.health_timeout, "OLLAMA_HEALTH_TIMEOUT", path, share=HEALTH_SHARE):
            response = await self._control_request("POST", path, orjson.dumps(body))
            return _parsed(await (await _checked(response)).read())

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send a POST and return the complete JSON response.

        Raises:
            OllamaUnavailableError: it could not be reached, after retries unless they are useless.
            OllamaBusyError: it responded 503 or 429, after retries unless they are useless.
            OllamaTimeoutError: the response took longer than OLLAMA_REQUEST_TIMEOUT.
            NotFoundError, NoSuchEndpointError: 404.
            RejectedByOllamaError: 400.
            OllamaResponseError: any other failure or invalid response.
        """
        async with deadline(self._options.request_timeout, "OLLAMA_REQUEST_TIMEOUT", "its response"):
            response = await self._send(path, body)
            document = _parsed(await response.read())
        if not isinstance(document, dict):
            raise invalid_response()
        return document

    @asynccontextmanager
    async def stream(
        self, path: str, body: dict[str, Any], idle_seconds: float | None = None
    ) -> AsyncIterator[StreamReader]:
        """Send a POST and stream the response; leaving early closes the connection.

        The first chunks have arrived when the context is entered. `idle_seconds` limits the silence between two later
        ones, by default to OLLAMA_STREAM_IDLE_TIMEOUT.

        Raises:
            OllamaError: as `post`.
        """
        async with deadline(self._options.request_timeout, "OLLAMA_REQUEST_TIMEOUT", "the first chunk"):
            response = await self._send(path, body)
            reader = StreamReader(response, idle_seconds or self._options.stream_idle_timeout)
            try:
                await reader.read_first()
            except BaseException:
                reader.close()
                raise
        try:
            yield reader
        finally:
            reader.close()

    async def relay(self, path: str, data: bytes) -> RawResponse:
        """Send a POST unchanged and return the unparsed response, whatever its status; a stream with its first bytes.

        Raises:
            OllamaUnavailableError, OllamaTimeoutError, OllamaResponseError: as `post`.
        """
        busy: RawResponse | None = None

        async def attempt() -> Response:
            nonlocal busy
            response = await self._request(self._generation, "POST", path, data)
            if response.status in BUSY_STATUSES:
                busy = await self._raw(response)
                raise _error(response, busy.body)
            return response

        async with deadline(self._options.request_timeout, "OLLAMA_REQUEST_TIMEOUT", "its response"):
            try:
                return await self._raw(await self._with_retries(attempt))
            except OllamaBusyError:
                if busy is None:
                    raise
                return busy

    async def relay_control(self, method: str, path: str, data: bytes = b"") -> RawResponse:
        """Send a request that runs no model, as `get`, and return the unparsed response, whatever its status.

        Raises:
            OllamaUnavailableError, OllamaTimeoutError, OllamaResponseError: as `get`.
        """
        async with deadline(self._options.health_timeout, "OLLAMA_HEALTH_TIMEOUT", path, share=HEALTH_SHARE):
            return await self._raw(await self._control_request(method, path, data))

    async def _send(self, path: str, body: dict[str, Any]) -> Response:
        """Send a POST, with retries where an attempt certainly did not run."""
        try:
            data = orjson.dumps(body)
        except orjson.JSONEncodeError as error:
            detail = "The request is nested too deeply."
            raise InvalidRequestError(detail, field="body") from error

        async def attempt() -> Response:
            return await _checked(await self._request(self._generation, "POST", path, data))

        return await self._with_retries(attempt)

    async def _with_retries(self, attempt: Callable[[], Awaitable[Response]]) -> Response:
        give_up_at = time.monotonic() + self._options.request_timeout
        self._on_attempt()
        try:
            return await attempt()
        except RETRYABLE as error:
            return await retry(
                attempt,
                error,
                on_attempt=partial(self._on_attempt, is_retry=True),
                attempts=self._options.retry_attempts,
                backoff_seconds=self._options.retry_backoff,
                give_up_at=give_up_at,
            )

    async def _control_json(self, method: str, path: str, data: bytes = b"") -> Any:
        async with deadline(self._options.health_timeout, "OLLAMA_HEALTH_TIMEOUT", path, share=HEALTH_SHARE):
            return _parsed(await (await _checked(await self._control_request(method, path, data))).read())

    async def _control_request(self, method: str, path: str, data: bytes = b"") -> Response:
        try:
            return await self._request(self._control, method, path, data)
        except OllamaConnectTimeoutError as error:
            raise OllamaUnavailableError(error.detail) from error

    async def _request(self, pool: ConnectionPool, method: str, path: str, data: bytes) -> Response:
        """Return the response with its body unread."""
        try:
            return await pool.request(method, path, data)
        except DeadConnectionError:
            logger.info("a kept-alive connection was dead; sending again on a fresh one")
            return await self._fresh.request(method, path, data)

    async def _raw(self, response: Response) -> RawResponse:
        raw = RawResponse(response, self._options.stream_idle_timeout)
        try:
            await raw.read_first()
        except BaseException:
            raw.close()
            raise
        return raw


async def _checked(response: Response) -> Response:
    """Return the response if it is a 200, with its body unread."""
    if response.status != OK:
        try:
            body = await response.read()
        except OllamaError:
            body = b""  # the status alone is enough
        raise _error(response, body)
    return response


def _error(response: Response, body: bytes) -> OllamaError:
    return error_from_response(response.status, body, response.headers.get("Retry-After"))


def _parsed(body: bytes) -> Any:
    try:
        document = orjson.loads(without_context(body))
    except orjson.JSONDecodeError as error:
        raise invalid_response() from error
    if isinstance(document, dict) and (failure := error_in(document)) is not None:
        raise failure
    return document

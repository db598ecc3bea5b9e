"""HTTP client for one Ollama server, or several behind a gateway: requests, timeouts and retries."""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import orjson

from services.ollama.connection_pool import OK, ConnectionPool, DeadConnectionError, Response
from services.ollama.error_mapping import BUSY_STATUSES, error_in, invalid_response
from services.ollama.errors import (
    InvalidRequestError,
    OllamaBusyError,
    OllamaConnectTimeoutError,
    OllamaError,
    OllamaResponseError,
    OllamaUnavailableError,
)
from services.ollama.gateway import FromServer, error_for, model_header, served_by, server_header
from services.ollama.parsing.ndjson import without_context
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
    model_header: str | None = None


class OllamaClient:
    """Sends requests to one Ollama server; bound to the event loop it was entered in.

    Generation has its own connection pool, so that it cannot starve health checks and the model list.
    `on_attempt` is called for each generation request that is sent, with `is_retry=True` from the second attempt on.
    `on_server` is called with the name of the server that responds; None without a gateway, or if that responds itself.
    """

    def __init__(
        self,
        options: ClientOptions,
        on_attempt: Callable[..., None] = lambda **_: None,
        on_server: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self._options = options
        self._on_attempt = on_attempt
        self._on_server = on_server
        self.is_behind_gateway = False
        """Whether a gateway has responded, behind which there may be several servers."""

    async def __aenter__(self) -> Self:
        options = self._options
        make = partial(ConnectionPool, options.base_url, options.api_key, options.connect_timeout)
        self._generation = make(limit=options.max_connections, keepalive_timeout=KEEP_ALIVE_SECONDS)
        self._control = make(limit=CONTROL_CONNECTIONS, keepalive_timeout=KEEP_ALIVE_SECONDS)
        self._fresh = make(force_close=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        for pool in (self._generation, self._fresh, self._control):
            await pool.close()

    async def get(self, path: str, *, server: str | None = None) -> Any:
        """Send a GET (health, version, model list) without retries, on a separate pool.

        `server` is the one that has to respond, by the name that the gateway gave it.

        Raises:
            OllamaError: as `post`, and if another server responds.
        """
        response, document = await self._control_json("GET", path, headers=server_header(server))
        if server is not None and served_by(response.headers) != server:
            detail = "Another Ollama server responded than the one that was asked."
            raise OllamaResponseError(detail)
        return document

    async def show(self, model: str) -> Any:
        """Ask what a model is, without loading it and without retries.

        See https://docs.ollama.com/api-reference/show-model-details.

        Raises:
            OllamaError: as `post`.
        """
        return await self.post_control("/api/show", {"model": model})

    async def post_control(self, path: str, body: dict[str, Any]) -> Any:
        """Send a POST that runs no model: as `get`.

        Raises:
            OllamaError: as `post`.
        """
        headers = model_header(self._options.model_header, body.get("model"))
        return (await self._control_json("POST", path, orjson.dumps(body), headers))[1]

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
            with FromServer(response.headers):
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
                with FromServer(response.headers):
                    await reader.read_first()
            except BaseException:
                reader.close()
                raise
        try:
            yield reader
        finally:
            reader.close()

    async def relay(self, path: str, data: bytes, model: str | None = None) -> RawResponse:
        """Send a POST unchanged and return the unparsed response, whatever its status; a stream with its first bytes.

        `model` is what the header for the gateway names.

        Raises:
            OllamaUnavailableError, OllamaTimeoutError, OllamaResponseError: as `post`.
        """
        busy: RawResponse | None = None

        async def attempt() -> Response:
            nonlocal busy
            response = await self._generate(path, data, model)
            if response.status in BUSY_STATUSES:
                busy = await self._raw(response)
                raise error_for(response.status, busy.body, response.headers)
            return response

        async with deadline(self._options.request_timeout, "OLLAMA_REQUEST_TIMEOUT", "its response"):
            try:
                return await self._raw(await self._with_retries(attempt))
            except OllamaBusyError:
                if busy is None:
                    raise
                return busy

    async def relay_control(self, method: str, path: str, data: bytes = b"", model: str | None = None) -> RawResponse:
        """Send a request that runs no model, as `get`, and return the unparsed response, whatever its status.

        Raises:
            OllamaUnavailableError, OllamaTimeoutError, OllamaResponseError: as `get`.
        """
        async with deadline(self._options.health_timeout, "OLLAMA_HEALTH_TIMEOUT", path, share=HEALTH_SHARE):
            headers = model_header(self._options.model_header, model)
            response = self._noted(await self._control_request(method, path, data, headers))
            raw = await self._raw(response)
        if isinstance(raw.failure, OllamaUnavailableError):  # of a gateway that has no server
            raise raw.failure
        return raw

    async def _send(self, path: str, body: dict[str, Any]) -> Response:
        """Send a POST, with retries where an attempt certainly did not run."""
        try:
            data = orjson.dumps(body)
        except orjson.JSONEncodeError as error:
            detail = "The request is nested too deeply."
            raise InvalidRequestError(detail, field="body") from error

        async def attempt() -> Response:
            return await _checked(await self._generate(path, data, body.get("model")))

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

    async def _generate(self, path: str, data: bytes, model: str | None) -> Response:
        headers = model_header(self._options.model_header, model)
        return self._noted(await self._request(self._generation, "POST", path, data, headers))

    def _noted(self, response: Response) -> Response:
        server = served_by(response.headers)
        if server is not None:
            self.is_behind_gateway = True
        self._on_server(server)
        return response

    async def _control_json(self, method: str, path: str, data: bytes = b"", headers: str = "") -> tuple[Response, Any]:
        async with deadline(self._options.health_timeout, "OLLAMA_HEALTH_TIMEOUT", path, share=HEALTH_SHARE):
            response = await _checked(await self._control_request(method, path, data, headers))
            return response, _parsed(await response.read())

    async def _control_request(self, method: str, path: str, data: bytes = b"", headers: str = "") -> Response:
        try:
            return await self._request(self._control, method, path, data, headers)
        except OllamaConnectTimeoutError as error:
            raise OllamaUnavailableError(error.detail) from error

    async def _request(self, pool: ConnectionPool, method: str, path: str, data: bytes, headers: str) -> Response:
        """Return the response with its body unread."""
        try:
            return await pool.request(method, path, data, headers)
        except DeadConnectionError:
            logger.info("a kept-alive connection was dead; sending again on a fresh one")
            return await self._fresh.request(method, path, data, headers)

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
        with FromServer(response.headers):
            raise error_for(response.status, body, response.headers)
    return response


def _parsed(body: bytes) -> Any:
    try:
        document = orjson.loads(without_context(body))
    except orjson.JSONDecodeError as error:
        raise invalid_response() from error
    if isinstance(document, dict) and (failure := error_in(document)) is not None:
        raise failure
    return document

"""Responses of Ollama's own API: requests are sent to Ollama and responses passed on unchanged."""

import math
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from config import Settings
from routers.direct_route import read_body
from routers.json_body import read_json
from server.observability.request_log import note
from server.shutdown import Shutdown
from services.ollama.errors import InvalidRequestError, OllamaBusyError, OllamaError
from services.ollama.raw_response import RawResponse
from services.ollama_service import OllamaService
from services.requests.request_builder import requested_model, set_constants

STREAM_HEADERS = [(b"cache-control", b"no-cache, no-transform"), (b"x-accel-buffering", b"no")]
BODILESS = (204, 304)


class RelayedGeneration(Response):
    """Relays a request that runs a model; holds the connection to Ollama until the last byte.

    An error before the first byte is raised. A stream that fails is left incomplete, which closes the connection.
    """

    def __init__(self, path: str, service: OllamaService, shutdown: Shutdown) -> None:
        self._path = path
        self._service = service
        self._shutdown = shutdown
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Write the response."""
        data, model = await _prepared(self._service.settings, await read_body(receive))
        is_stream = False
        try:
            async with self._shutdown.drain_guard(), await self._service.relay(self._path, data, model) as response:
                is_stream = not response.is_whole
                if is_stream:
                    await _send_stream(response, send)
        except OllamaError as error:
            if not is_stream:
                raise
            note(error=error.code)
            return
        if not is_stream:  # its slot is already free, however slowly the client reads
            await _send_complete(response, send)


class RelayedControl(Response):
    """Relays a request that runs no model."""

    def __init__(self, method: str, path: str, service: OllamaService) -> None:
        self._method = method
        self._path = path
        self._service = service
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Write the response."""
        data, model = b"", None
        if self._method == "POST":
            data = await read_body(receive)
            model = requested_model(await _parsed(data)) if self._service.settings.upstream_model_header else None
        await _send_complete(await self._service.relay_control(self._method, self._path, data, model), send)


async def _prepared(settings: Settings, data: bytes) -> tuple[bytes, str | None]:
    """Return the body to send, with OLLAMA_NUM_CTX and OLLAMA_KEEP_ALIVE, and the model for UPSTREAM_MODEL_HEADER.

    It is parsed only if one of these is set, and unchanged if it is not a JSON object.

    Raises:
        HTTPException: 413 if it has too many parts or values.
        InvalidRequestError: if it is nested too deeply.
    """
    has_constants = settings.ollama_num_ctx is not None or settings.ollama_keep_alive is not None
    if not has_constants and settings.upstream_model_header is None:
        return data, None
    body = await _parsed(data)
    model = requested_model(body)
    if not has_constants or not isinstance(body, dict):
        return data, model
    set_constants(settings, body)
    try:
        return orjson.dumps(body), model
    except orjson.JSONEncodeError as error:
        detail = "The request is nested too deeply."
        raise InvalidRequestError(detail, field="body") from error


async def _parsed(data: bytes) -> Any:
    try:
        return await read_json(data)
    except orjson.JSONDecodeError:
        return None


async def _send_complete(response: RawResponse, send: Send) -> None:
    """Write a complete response."""
    headers = []
    if response.status not in BODILESS:
        headers.append((b"content-length", b"%d" % len(response.body)))
    failure = response.failure
    if failure is not None:
        note(error=failure.code)
        if isinstance(failure, OllamaBusyError):
            headers.append((b"retry-after", b"%d" % math.ceil(failure.retry_after_seconds or 1)))
    await _send_start(response, headers, send)
    await send({"type": "http.response.body", "body": response.body, "more_body": False})


async def _send_stream(response: RawResponse, send: Send) -> None:
    await _send_start(response, STREAM_HEADERS, send)
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    while not response.is_whole:
        part = await response.read_some()
        if response.is_whole and response.failure is not None:
            note(error=response.failure.code)
        await send({"type": "http.response.body", "body": part, "more_body": not response.is_whole})


async def _send_start(response: RawResponse, headers: list[tuple[bytes, bytes]], send: Send) -> None:
    if response.content_type:
        headers = [(b"content-type", response.content_type.encode("utf-8", "surrogateescape")), *headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})

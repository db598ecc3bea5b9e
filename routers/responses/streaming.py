"""Streaming responses of generate and chat."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from enum import IntEnum

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from routers.responses.negotiation import negotiate_stream_format
from routers.responses.stream_format import StreamFormat
from server.observability.request_log import note, request_id
from server.shutdown import Shutdown
from services.completion import CompletionRequest, ResolvedModel
from services.ollama.errors import OllamaError
from services.ollama.events import Done, Error, Event, Start
from services.ollama.types.model_names import short_name
from services.ollama_service import OllamaService

PING = b": ping\n\n"


def model_headers(served: ResolvedModel) -> dict[str, str]:
    """Return the headers that name the model and tell whether it is a fallback."""
    headers = {"X-Model": served.model, "X-Model-Fallback": str(served.fallback).lower()}
    return headers | ({"X-Prompt-Truncated": "true"} if "prompt_truncated" in served.warnings else {})


class StreamingCompletion(Response):
    """Opens a streamed completion and writes its events; holds the connection to Ollama until the last byte.

    An error before the first chunk is raised, so that the response has its status, unless a heartbeat was already sent.
    """

    def __init__(self, request: CompletionRequest, service: OllamaService, shutdown: Shutdown) -> None:
        self._request = request
        self._service = service
        self._shutdown = shutdown
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Write the response."""
        stream_format = self._format_for(scope)
        settings = self._service.settings
        requested = self._request.model or settings.default_model
        writer = StreamWriter(stream_format, send, ResolvedModel(short_name(requested), requested, fallback=False))
        heartbeat = writer.heartbeat(settings.sse_ping_interval) if stream_format.has_heartbeat else nullcontext()
        async with heartbeat:
            try:
                async with self._shutdown.drain_guard(), self._service.stream(self._request, writer.resolved) as stream:
                    async for events in stream:
                        await writer.write(stream.served, events)
            except OllamaError as error:
                if not writer.is_committed:
                    raise
                note(error=error.code)
                await writer.fail(error)

    def _format_for(self, scope: Scope) -> StreamFormat:
        return negotiate_stream_format(",".join(Headers(scope=scope).getlist("accept")))


class _State(IntEnum):
    PENDING = 0
    COMMITTED = 1
    """A heartbeat has sent the status 200."""
    STREAMING = 2
    """The start event is written."""
    FINISHED = 3


class StreamWriter:
    """Writes the events of one completion in one format."""

    def __init__(self, stream_format: StreamFormat, send: Send, model: ResolvedModel) -> None:
        self._format = stream_format
        self._send = send
        self._model = model
        self._wrote_at = time.monotonic()
        self._state = _State.PENDING

    @property
    def is_committed(self) -> bool:
        """Whether the status 200 has been sent."""
        return self._state >= _State.COMMITTED

    def resolved(self, model: ResolvedModel) -> None:
        """Set the model for the headers."""
        self._model = model

    async def write(self, model: ResolvedModel, events: list[Event]) -> None:
        """Write events that arrived together in one call, as a write costs more than ten tokens."""
        start = b"" if self._state >= _State.STREAMING else await self._start(model)
        data = start + b"".join(map(self._format.encode, events))
        last = events[-1] if events else None
        if isinstance(last, Done):
            self._state = _State.FINISHED
            await self._send_body(data, more=False)
        elif data:
            await self._send_body(data)

    async def fail(self, error: OllamaError) -> None:
        """Write an error event; in a format without one, leave the body incomplete, which closes the connection."""
        if self._format.has_errors and self._state < _State.FINISHED:
            self._state = _State.FINISHED
            data = self._format.encode(Error(error.code, error.detail, error.retryable))
            await self._send_body(data, more=False)

    @asynccontextmanager
    async def heartbeat(self, interval_seconds: float) -> AsyncIterator[None]:
        """Send a heartbeat whenever the stream is idle, also before the first token."""
        task = asyncio.create_task(self._ping(interval_seconds))
        try:
            yield
        finally:
            task.cancel()

    async def _ping(self, interval_seconds: float) -> None:
        while True:
            silent_for = time.monotonic() - self._wrote_at
            await asyncio.sleep(interval_seconds - silent_for)
            if time.monotonic() - self._wrote_at >= interval_seconds and self._state < _State.FINISHED:
                await self._commit()
                await self._send_body(PING)

    async def _start(self, model: ResolvedModel) -> bytes:
        """Send the status and return the start event."""
        self._model = model
        await self._commit()
        self._state = _State.STREAMING
        return self._format.encode(Start(model.model, model.requested_model, model.fallback, request_id.get()))

    async def _commit(self) -> None:
        if self._state > _State.PENDING:
            return
        self._state = _State.COMMITTED
        headers = {
            "content-type": self._format.media_type,
            "cache-control": "no-cache, no-transform",
            "x-accel-buffering": "no",
            **({"vary": "Accept"} if self._format.is_negotiated else {}),
            **model_headers(self._model),
        }
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": raw})

    async def _send_body(self, data: bytes, *, more: bool = True) -> None:
        self._wrote_at = time.monotonic()
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

"""Answers that come in pieces: one stream of events, written in the form that `Accept` asks for."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass

import orjson
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from server.request_log import note, request_id
from server.shutdown import Shutdown
from services.ollama.errors import OllamaError
from services.ollama.events import CompletionRequest, Done, Error, Event, ResolvedModel, Start, Token
from services.ollama.types.model_names import short_name
from services.ollama_service import OllamaService

PING = b": ping\n\n"


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """A way to write events; one without `tells_more` writes the text alone."""

    media_type: str
    encode: Callable[[Event], bytes]
    tells_more: bool = True
    has_heartbeat: bool = False


def _sse(event: Event) -> bytes:
    if type(event) is Token:  # framed by hand: 0.2 µs instead of 1.4
        return b'event: token\ndata: {"type":"token","text":%s}\n\n' % orjson.dumps(event.text)
    return b"event: %s\ndata: %s\n\n" % (event.type.encode(), orjson.dumps(event))


def _ndjson(event: Event) -> bytes:
    return orjson.dumps(event) + b"\n"


def _text(event: Event) -> bytes:
    return event.text.encode() if isinstance(event, Token) else b""


SSE = StreamFormat("text/event-stream", _sse, has_heartbeat=True)
NDJSON = StreamFormat("application/x-ndjson", _ndjson)
TEXT = StreamFormat("text/plain; charset=utf-8", _text, tells_more=False)

FORMS = {"text/event-stream": SSE, "application/x-ndjson": NDJSON, "text/plain": TEXT, "text/*": TEXT, "*/*": TEXT}


def stream_format_for(accept: str) -> StreamFormat:
    """Return the form that an `Accept` header prefers; plain text if it names none of ours."""
    best, form = (0.0, False), TEXT
    for media_range in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in media_range.split(";"))
        rank = (_quality(parameters), "*" not in media_type)
        if media_type in FORMS and rank[0] > 0 and rank > best:
            best, form = rank, FORMS[media_type]
    return form


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            with suppress(ValueError):
                return float(value)
            return 0.0
    return 1.0


def model_headers(served: ResolvedModel) -> dict[str, str]:
    """Return the headers that say which model answers."""
    return {"X-Model": served.model, "X-Model-Fallback": str(served.fallback).lower()}


class StreamingCompletion(Response):
    """Opens the model's answer and passes it on; owns the connection to Ollama from its first to its last byte.

    Until its first chunk has arrived, a failure is raised, so that it is answered with its real status. A heartbeat
    that comes earlier settles for 200.
    """

    def __init__(self, request: CompletionRequest, service: OllamaService, shutdown: Shutdown) -> None:
        self._request = request
        self._service = service
        self._shutdown = shutdown
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Write the answer."""
        form = stream_format_for(",".join(Headers(scope=scope).getlist("accept")))
        settings = self._service.settings
        requested = self._request.model or settings.default_model
        writer = _Writer(form, send, ResolvedModel(short_name(requested), requested, fallback=False))
        heartbeat = writer.heartbeat(settings.sse_ping_interval) if form.has_heartbeat else nullcontext()
        async with heartbeat:
            try:
                async with self._shutdown.drain_guard(), self._service.stream(self._request, writer.chosen) as stream:
                    async for events in stream:
                        await writer.write(stream.served, events)
            except OllamaError as error:
                if not writer.is_started:
                    raise
                note(error=error.code)
                await writer.fail(error)


class _Writer:
    def __init__(self, form: StreamFormat, send: Send, served: ResolvedModel) -> None:
        self._form = form
        self._send = send
        self._served = served
        self._wrote_at = time.monotonic()
        self.is_started = False
        self._has_begun = False
        self._is_over = False

    def chosen(self, served: ResolvedModel) -> None:
        """Note which model is about to answer."""
        self._served = served

    async def _begin(self, served: ResolvedModel) -> bytes:
        """Settle for success, and return what stands before the first events."""
        self._has_begun = True
        self.chosen(served)
        note(model=served.model, fallback=served.fallback, first_token_at=time.monotonic())
        await self._start()
        return self._form.encode(Start(served.model, served.requested_model, served.fallback, request_id.get()))

    async def write(self, served: ResolvedModel, events: list[Event]) -> None:
        """Write what arrived together in one go: each write costs more than ten tokens."""
        before = b"" if self._has_begun else await self._begin(served)
        last = events[-1] if events else None
        self._is_over = isinstance(last, Done)
        if isinstance(last, Done):
            note(tokens=last.usage.completion_tokens)
        data = before + b"".join(map(self._form.encode, events))
        if data or self._is_over:
            await self._body(data, more=not self._is_over)

    async def fail(self, error: OllamaError) -> None:
        """Send the last event; plain text has none, there the connection is cut by leaving the body unfinished."""
        if self._form.tells_more and not self._is_over:
            self._is_over = True
            await self._body(self._form.encode(Error(error.code, error.detail, error.retryable)), more=False)

    @asynccontextmanager
    async def heartbeat(self, interval_seconds: float) -> AsyncIterator[None]:
        """Keep the connection alive in silence, also before the first token."""
        task = asyncio.create_task(self._ping(interval_seconds))
        try:
            yield
        finally:
            task.cancel()

    async def _ping(self, interval_seconds: float) -> None:
        while True:
            silent_for = time.monotonic() - self._wrote_at
            await asyncio.sleep(interval_seconds - silent_for)
            if time.monotonic() - self._wrote_at >= interval_seconds and not self._is_over:
                await self._start()
                await self._body(PING)

    async def _start(self) -> None:
        if self.is_started:
            return
        self.is_started = True
        headers = {
            "content-type": self._form.media_type,
            "cache-control": "no-cache, no-transform",
            "x-accel-buffering": "no",
            "vary": "Accept",
            **model_headers(self._served),
        }
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": raw})

    async def _body(self, data: bytes, *, more: bool = True) -> None:
        self._wrote_at = time.monotonic()
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

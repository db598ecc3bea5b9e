import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable
from urllib.parse import quote

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middleware.trace_context import trace_id_in
from routers.asgi_scope import get_route_path, with_connection_close
from server.observability.request_log import (
    ON_REJECTED_HEAD,
    Outcome,
    RequestNotes,
    log_request,
    request_id,
    request_notes,
)
from server.observability.tracing import current_trace_id, has_sdk
from server.shutdown import Shutdown
from services.operation import request_operations
from services.serving_server import ServingServer, serving_server

logger = logging.getLogger(__name__)

REQUEST_ID = re.compile(rb"[A-Za-z0-9_-]{1,128}")
MAX_ID_LENGTH = 128
CLIENT_CLOSED_REQUEST = 499
FIRST_FAILURE_STATUS = 400
UNAUTHORIZED = 401
QUIET_PATHS = ("/health", "/metrics")  # requested every few seconds


OnRejectedHead = Callable[[int, str], None]
OnRequest = Callable[[Scope, int, Outcome, str | None, float], None]
"""Takes a request's scope, status, outcome, error code and seconds."""


class RequestContextMiddleware:
    """Assigns request ids, logs one line per request and passes its outcome to `on_request`.

    `on_rejected_head` is left to the server's HTTP protocol, as such requests never reach the app. While the service
    drains, clients are asked to close the connection.
    """

    def __init__(
        self,
        app: ASGIApp,
        shutdown: Shutdown,
        on_request: OnRequest | None = None,
        on_rejected_head: OnRejectedHead | None = None,
    ) -> None:
        self._app = app
        self._shutdown = shutdown
        self._on_request = on_request
        self._on_rejected_head = on_rejected_head
        self._may_be_traced = has_sdk()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._pass_on(scope, receive, send)
            return
        started_at = time.monotonic()
        notes = RequestNotes()
        id_ = _read_headers(scope, notes)
        if self._may_be_traced:
            notes.trace_id = current_trace_id() or notes.trace_id
        request_id.set(id_)
        request_notes.set(notes)
        request_operations.set(notes.operations)
        server = ServingServer()
        serving_server.set(server)
        is_whole = has_left = False

        async def send_with_id(message: Message) -> None:
            nonlocal is_whole
            if message["type"] == "http.response.start":
                notes.status = message["status"]
                headers = [*message["headers"], (b"x-request-id", id_.encode())]
                if server.name is not None:
                    headers.append((b"x-served-by", server.name.encode()))
                message["headers"] = with_connection_close(scope, headers) if self._shutdown.is_draining else headers
                await send(message)
            else:
                await send(message)
                is_whole = not message.get("more_body", False)

        try:
            await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            has_left = True
            raise
        except ClientDisconnect:
            has_left = True
        finally:
            notes.served_by = server.name
            seconds = time.monotonic() - started_at
            status = notes.status or CLIENT_CLOSED_REQUEST
            outcome: Outcome = "whole"
            if has_left:
                outcome = "left"
            elif notes.error is not None or not is_whole or status >= FIRST_FAILURE_STATUS:
                outcome = "failed"
            error = None if outcome == "whole" else notes.error
            level = _level(scope, status)
            if logger.isEnabledFor(level):
                log_request(logger, level, scope, status, outcome, notes, started_at, seconds)
            if self._on_request is not None:
                self._on_request(scope, status, outcome, error, seconds)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" and "state" in scope:
            scope["state"][ON_REJECTED_HEAD] = self._on_rejected_head
        await self._app(scope, receive, send)


def _level(scope: Scope, status: int) -> int:
    is_quiet = status != UNAUTHORIZED and get_route_path(scope).startswith(QUIET_PATHS)
    return logging.DEBUG if is_quiet else logging.INFO


def _read_headers(scope: Scope, notes: RequestNotes) -> str:
    """Return the request id; note the trace id and a given request id that is not acceptable."""
    given = b""
    traceparent: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = given or value
        elif name == b"traceparent":
            traceparent = value if traceparent is None else b""  # a repeated header is malformed
    if traceparent:
        notes.trace_id = trace_id_in(traceparent)
    if given:
        if REQUEST_ID.fullmatch(given):
            return given.decode()
        notes.given_request_id = quote(given[:MAX_ID_LENGTH], safe=":")
    return secrets.token_hex(16)

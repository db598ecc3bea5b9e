import logging
import re
import secrets
import time
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headers import first_header, with_connection_close
from request_log import RequestNotes, request_id, request_notes
from route_path import get_route_path
from shutdown import Shutdown

logger = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
CLIENT_CLOSED_REQUEST = 499


class RequestContextMiddleware:
    """Gives each request an id and logs its end; while the service drains, asks clients to close the connection."""

    def __init__(self, app: ASGIApp, shutdown: Shutdown) -> None:
        self._app = app
        self._shutdown = shutdown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_at = time.monotonic()
        given = first_header(scope, b"x-request-id").decode("latin-1")
        id_ = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
        request_id.set(id_)
        notes = RequestNotes()
        request_notes.set(notes)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                notes.status = message["status"]
                headers = [*message["headers"], (b"x-request-id", id_.encode())]
                message["headers"] = with_connection_close(scope, headers) if self._shutdown.is_draining else headers
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            _log(scope, notes, started_at)


def _log(scope: Scope, notes: RequestNotes, started_at: float) -> None:
    path = get_route_path(scope)
    level = logging.DEBUG if path.startswith("/health") else logging.INFO
    if not logger.isEnabledFor(level):
        return
    details = {
        "method": scope["method"],
        "path": quote(path),
        "status": notes.status or CLIENT_CLOSED_REQUEST,
        "model": notes.model,
        "fallback": notes.fallback,
        "tokens": notes.tokens,
        "error": notes.error,
        "first_token_ms": notes.first_token_at and round((notes.first_token_at - started_at) * 1000, 1),
        "total_ms": round((time.monotonic() - started_at) * 1000, 1),
    }
    known = {name: value for name, value in details.items() if value is not None}
    logger.log(level, "%s", " ".join(f"{name}={value}" for name, value in known.items()), extra={"request": known})

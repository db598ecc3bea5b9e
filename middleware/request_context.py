import logging
import re
import secrets
import time
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headers import first_header
from problems import problem
from request_log import RequestNotes, request_id, request_notes

logger = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
CLIENT_CLOSED_REQUEST = 499


class RequestContextMiddleware:
    """Gives each request an id, logs its end, and answers a bug of ours with `internal_error`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

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
        status = CLIENT_CLOSED_REQUEST

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", id_.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            logger.exception("a bug: this request was not handled")
            if status == CLIENT_CLOSED_REQUEST:
                await problem("internal_error", "The service failed; its log says why.")(scope, receive, send_with_id)
        finally:
            _log(scope, status, notes, started_at)


def _log(scope: Scope, status: int, notes: RequestNotes, started_at: float) -> None:
    level = logging.DEBUG if scope["path"].startswith("/health") else logging.INFO
    if not logger.isEnabledFor(level):
        return
    details = {
        "method": scope["method"],
        "path": quote(scope["path"]),
        "status": status,
        "model": notes.model,
        "fallback": notes.fallback,
        "tokens": notes.tokens,
        "error": notes.error,
        "first_token_ms": notes.first_token_at and round((notes.first_token_at - started_at) * 1000, 1),
        "total_ms": round((time.monotonic() - started_at) * 1000, 1),
    }
    known = {name: value for name, value in details.items() if value is not None}
    logger.log(level, "%s", " ".join(f"{name}={value}" for name, value in known.items()), extra={"request": known})

import logging

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from routers.responses.problems import problem
from server.request_log import note, request_notes

logger = logging.getLogger(__name__)


class ServerErrorMiddleware:
    """Answers a bug of ours with `internal_error`; the log has its traceback, the client is told nothing of it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            raise
        except Exception:
            if scope["type"] != "http":
                raise
            logger.exception("a bug: this request was not handled")
            note(error="internal_error")
            notes = request_notes.get()
            if notes is None or notes.status is None:
                await problem("internal_error", "The service failed; its log says why.")(scope, receive, send)

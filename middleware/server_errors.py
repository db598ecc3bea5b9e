import logging

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from routers.responses.problems import problem
from server.observability.request_log import note, request_notes

logger = logging.getLogger(__name__)


class ServerErrorMiddleware:
    """Logs unexpected exceptions with their traceback and responds with `internal_error`, without details."""

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
            logger.exception("unexpected error while handling a request")
            note(error="internal_error")
            notes = request_notes.get()
            if notes is None or notes.status is None:
                await problem("internal_error", "The service failed; see its log for the reason.")(scope, receive, send)

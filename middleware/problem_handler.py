from starlette.types import ASGIApp, Receive, Scope, Send

from routers.responses.problems import EXPECTED_ERRORS, problem_for


class ProblemHandlerMiddleware:
    """Converts expected exceptions into problem documents; other exceptions reach `ServerErrorMiddleware`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        try:
            await self._app(scope, receive, send)
        except EXPECTED_ERRORS as error:
            await problem_for(error)(scope, receive, send)

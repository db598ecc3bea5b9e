"""Starlette's layers for exception handlers, for an app that registers handlers of its own."""

from collections.abc import Mapping
from typing import Any

from fastapi import exception_handlers as defaults
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from routers.responses.problems import EXPECTED_ERRORS, problem_for

DEFAULTS = {
    defaults.http_exception_handler,
    defaults.request_validation_exception_handler,
    defaults.websocket_request_validation_exception_handler,
}
FOR_BUGS = (500, Exception)


def with_exception_handlers(app: ASGIApp, handlers: Mapping[Any, Any]) -> ASGIApp:
    """Return the app behind Starlette's layers if any handler was registered, for they cost time in every request.

    What no handler takes is answered as without them; a handler for 500 or `Exception` answers bugs, which still go on
    to the log.
    """
    own = {key: handler for key, handler in handlers.items() if handler not in DEFAULTS}
    for_bugs = [own.pop(key) for key in FOR_BUGS if key in own]
    if own or for_bugs:
        app = ExceptionMiddleware(app, handlers=dict.fromkeys(EXPECTED_ERRORS, _answer) | own)
    return ServerErrorMiddleware(app, handler=for_bugs[-1]) if for_bugs else app


def _answer(_request: Request, error: Any) -> Response:
    return problem_for(error)

"""Support for exception handlers that are registered on the app."""

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
UNEXPECTED = (500, Exception)


def with_exception_handlers(app: ASGIApp, handlers: Mapping[Any, Any]) -> ASGIApp:
    """Wrap the app in Starlette's exception middleware if custom handlers are registered.

    Without custom handlers the middleware is omitted, as it costs time in every request. Expected exceptions without a
    custom handler get a problem document as usual. A handler for 500 or `Exception` creates the response to unexpected
    exceptions, which are still raised and logged.
    """
    custom = {key: handler for key, handler in handlers.items() if handler not in DEFAULTS}
    unexpected = [custom.pop(key) for key in UNEXPECTED if key in custom]
    if custom or unexpected:
        app = ExceptionMiddleware(app, handlers=dict.fromkeys(EXPECTED_ERRORS, _problem_response) | custom)
    return ServerErrorMiddleware(app, handler=unexpected[-1]) if unexpected else app


def _problem_response(_request: Request, error: Any) -> Response:
    return problem_for(error)

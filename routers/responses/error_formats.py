"""The format of error bodies, by the API that was called."""

from collections.abc import Callable
from typing import Any

from starlette.types import Scope

from routers.asgi_scope import get_route_path
from routers.responses.ollama_errors import ollama_error
from routers.responses.openai_errors import openai_error

ErrorFormat = Callable[[dict[str, Any], Scope], tuple[dict[str, Any], dict[str, str]]]
"""Converts a problem document to the body and the additional headers of the response."""

ERROR_FORMATS: dict[str, ErrorFormat | None] = {
    "/api": ollama_error,
    "/api/ollama": None,
    "/v1": openai_error,
}
"""Error formats by path prefix; the longest prefix wins. None, and any other path, means problem documents."""


def error_format(scope: Scope) -> ErrorFormat | None:
    """Return the error format for the requested path, or None for problem documents."""
    path = get_route_path(scope)
    found = [prefix for prefix in ERROR_FORMATS if path == prefix or path.startswith(f"{prefix}/")]
    return ERROR_FORMATS[max(found, key=len)] if found else None

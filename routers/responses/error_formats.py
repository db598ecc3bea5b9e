"""The form of an error: which one a client can read depends on the API that it called."""

from collections.abc import Callable
from typing import Any

from starlette.types import Scope

from routers.asgi_scope import get_route_path
from routers.responses.ollama_errors import ollama_error

ErrorFormat = Callable[[dict[str, Any], Scope], tuple[dict[str, Any], dict[str, str]]]

# By the first part of the path, the longest first; None, and what is not listed, is the problem document itself.
ERROR_FORMATS: tuple[tuple[str, ErrorFormat | None], ...] = (("/api/ollama", None), ("/api", ollama_error))


def error_format(scope: Scope) -> ErrorFormat | None:
    """Return the form of errors below the requested path, or None for problem documents."""
    path = get_route_path(scope)
    for prefix, form in ERROR_FORMATS:
        if path == prefix or path.startswith(f"{prefix}/"):
            return form
    return None

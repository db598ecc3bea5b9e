"""Look-ups in an ASGI scope: headers, and the path within the app."""

from collections.abc import Iterable

from starlette._utils import get_route_path as starlette_route_path
from starlette.types import Scope


def first_header(scope: Scope, name: bytes) -> bytes:
    """Return the first header of that name, in lower case, or nothing; `Headers` costs a whole chat 7 µs more."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


def with_connection_close(scope: Scope, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of a response after which the connection is to be closed; HTTP/2 has no such header."""
    kept = [header for header in headers if header[0].lower() != b"connection"]
    return [*kept, (b"connection", b"close")] if scope["http_version"].startswith("1") else kept


def get_route_path(scope: Scope) -> str:
    """Return the path without the `root_path` that a server or mount adds.

    The router's own function: a check by another reading could be walked around.
    """
    return starlette_route_path(scope)


def pass_route_on(inner: Scope, scope: Scope) -> None:
    """Name the route that was found for a changed copy of a scope in the scope itself, where outer layers look."""
    if "route" in inner:
        scope["route"] = inner["route"]

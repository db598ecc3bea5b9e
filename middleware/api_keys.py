import hashlib
import hmac
from collections.abc import Collection, Sequence

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from routers.asgi_scope import get_route_path
from routers.responses.problems import problem
from server.observability.request_log import note

FINGERPRINT_LENGTH = 8
"""Hexadecimal digits of a key's SHA-256 that identify it in the log."""

MISSING = "This call needs an API key, as `Authorization: Bearer` or `X-API-Key`."
NOT_VALID = "The API key is not valid."


class ApiKeyMiddleware:
    """Requires an API key, except for `open_paths`; checked before the body is read.

    An open path that ends with a slash includes all paths below it.
    """

    def __init__(self, app: ASGIApp, keys: Sequence[SecretStr], open_paths: Collection[str]) -> None:
        self._app = app
        self._keys = [key.get_secret_value().encode() for key in keys]
        self._fingerprints = [hashlib.sha256(key).hexdigest()[:FINGERPRINT_LENGTH] for key in self._keys]
        self._open_paths = frozenset(path for path in open_paths if path == "/" or not path.endswith("/"))
        self._open_prefixes = tuple(path for path in open_paths if path != "/" and path.endswith("/"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or WebSocket."""
        if scope["type"] == "lifespan" or self._is_open(get_route_path(scope)):
            await self._app(scope, receive, send)
            return
        given = _given_keys(scope)
        if self._has_valid_key(given):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            detail = NOT_VALID if given else MISSING
            await problem("unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _is_open(self, path: str) -> bool:
        return (path.removesuffix("/") or "/") in self._open_paths or path.startswith(self._open_prefixes)

    def _has_valid_key(self, given: Sequence[bytes]) -> bool:
        matches = [hmac.compare_digest(one, key) for one in given for key in self._keys]
        is_valid = any(matches)
        if is_valid:
            note(key=self._fingerprints[matches.index(True) % len(self._keys)])
        else:  # no part of a wrong key is logged: it may be a password for something else
            note(key="wrong" if given else "missing")
        return is_valid


def _given_keys(scope: Scope) -> list[bytes]:
    """Return the keys of a request that are not empty."""
    headers = Headers(scope=scope)
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return [text.encode("latin-1") for text in (bearer, headers.get("x-api-key", "")) if text]

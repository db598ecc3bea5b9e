import hashlib
import hmac
from collections.abc import Sequence

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from problems import problem
from request_log import note

FINGERPRINT_LENGTH = 8
"""Hexadecimal digits of a key's SHA-256, by which the log names it."""


class ApiKeyMiddleware:
    """Lets a call to `/api/*` pass only with one of the keys, before its body is read."""

    def __init__(self, app: ASGIApp, keys: Sequence[SecretStr]) -> None:
        self._app = app
        self._keys = [key.get_secret_value().encode() for key in keys]
        self._fingerprints = [hashlib.sha256(key).hexdigest()[:FINGERPRINT_LENGTH] for key in self._keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] == "http" and path.startswith("/api/") and not self._is_valid(Headers(scope=scope)):
            detail = "This call needs an API key, as `Authorization: Bearer` or `X-API-Key`."
            await problem("unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_valid(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else ""
        given = [text.encode("latin-1") for text in (bearer, headers.get("x-api-key", ""))]
        matches = [hmac.compare_digest(one, key) for one in given for key in self._keys]
        is_valid = any(matches)
        if is_valid:
            note(key=self._fingerprints[matches.index(True) % len(self._keys)])
        else:  # nothing of a wrong key is logged: it may be a password for something else
            note(key="wrong" if any(given) else "missing")
        return is_valid

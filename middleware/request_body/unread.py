import asyncio
from collections.abc import Awaitable
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from routers.asgi_scope import first_header, with_connection_close

SMALL_BYTES = 65_536  # the server buffers this much anyway
MAX_BYTES = 134_217_728
MAX_SECONDS = 10.0
FIRST_SECONDS = 1.0  # short, as a client may wait for the response before it sends its body
IDLE_SECONDS = 5.0


class UnreadBodyMiddleware:
    """Reads and discards the rest of the request body if the response was sent before its end.

    Closing a connection with unread data resets it, so a client that is still sending might never see the response.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or not may_have_body(scope):
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        await self._app(scope, exchange.receive, exchange.send)
        if exchange.is_held_back:
            await exchange.discard_body()
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def may_have_body(scope: Scope) -> bool:
    """Return whether a request can have a body; HTTP/1 requires headers that declare it, HTTP/2 does not."""
    for name, _ in scope["headers"]:
        if name in {b"content-length", b"transfer-encoding"}:
            return True
    return not scope["http_version"].startswith("1")


class _Exchange:
    __slots__ = ("_receive", "_received_bytes", "_scope", "_send", "is_held_back", "is_read")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._received_bytes = 0
        self.is_read = self.is_held_back = False

    async def receive(self) -> Message:
        """Forward a message, and note the end of the body."""
        message = await self._receive()
        if not message.get("more_body", False):
            self.is_read = True
        self._received_bytes += len(message.get("body", b""))
        return message

    def send(self, message: Message) -> Awaitable[None]:  # not a coroutine, which would cost time for each token
        """Forward a message, but hold back the end of the response until the body is read."""
        if self.is_read:
            return self._send(message)
        if message["type"] == "http.response.start":
            if not self._is_rest_small():
                message = {**message, "headers": with_connection_close(self._scope, message.get("headers", ()))}
        elif not message.get("more_body", False):
            self.is_held_back = True
            message = {**message, "more_body": True}
        return self._send(message)

    def _is_rest_small(self) -> bool:
        length = first_header(self._scope, b"content-length")
        if not length.isdigit() or first_header(self._scope, b"expect"):
            return False
        return int(length) - self._received_bytes <= SMALL_BYTES

    async def discard_body(self) -> None:
        """Read the rest of the body, within limits."""
        limit = self._received_bytes + MAX_BYTES
        idle_seconds = FIRST_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout(MAX_SECONDS):
                while not self.is_read and self._received_bytes < limit:
                    async with asyncio.timeout(idle_seconds):
                        await self.receive()
                    idle_seconds = IDLE_SECONDS

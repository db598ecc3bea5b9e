from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headers import first_header
from problems import problem


class BodyLimitMiddleware:
    """Refuses bodies that are too large: at once if they say so, else where they go over the limit."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._detail = f"The body is larger than {max_bytes} bytes (MAX_REQUEST_BYTES)."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = first_header(scope, b"content-length")
        if announced.isdigit() and not first_header(scope, b"transfer-encoding"):  # then no more than that comes
            if int(announced) <= self._max_bytes:
                await self._app(scope, receive, send)
                return
            response = problem("payload_too_large", self._detail, headers={"Connection": "close"})
            await response(scope, receive, send)
            return
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise HTTPException(413, self._detail, headers={"Connection": "close"})
            return message

        await self._app(scope, receive_counted, send)

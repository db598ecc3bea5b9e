import asyncio
import re

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middleware.request_body.budget import BodyBudget, BodyBudgetError
from middleware.request_body.content_coding import CODINGS, Decoder, DecodingError
from middleware.request_body.deadlines import BodyDeadline, BodyDeadlines
from routers.responses.problems import problem

SMALL_BYTES = 65_536  # not counted in the budget, as the server buffers this much per connection anyway
CLOSE = {"Connection": "close"}
CHARSET = re.compile(rb';\s*charset\s*=\s*"?([^\s;"]*)', re.IGNORECASE)
UTF8 = {b"utf-8", b"utf8", b"us-ascii", b"ascii"}


class RequestBodyMiddleware:
    """Limits the size, arrival time and total memory of request bodies, and decodes compressed ones.

    A body is read only when the application receives it, and never if its Content-Length exceeds the limit.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, max_bytes_in_flight: int, timeout_seconds: float) -> None:
        self._app = app
        self.max_bytes = max_bytes
        self.timeout_seconds = timeout_seconds
        self.budget = BodyBudget(max_bytes_in_flight)
        self.deadlines = BodyDeadlines(timeout_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length: int | None = None
        is_chunked = is_encoded = False
        content_type = b""
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit():
                length = int(value)
            elif name == b"content-type":
                content_type = value
            elif name == b"transfer-encoding":
                is_chunked = True
            elif name == b"content-encoding":
                is_encoded = True
        if length is None and not is_chunked and scope["http_version"].startswith("1"):
            await self._app(scope, receive, send)  # there is no body
            return
        if is_chunked:
            length = None  # ignored in chunked requests
        if length is not None and length > self.max_bytes:
            await problem("payload_too_large", self.too_large(), headers=CLOSE)(scope, receive, send)
            return
        body = _Body(self, receive, length, content_type)
        if is_encoded:
            scope = body.decode(scope)
        try:
            await self._app(scope, body.receive, send)
        finally:
            body.release()

    def too_large(self) -> str:
        """Return the error detail for a body that is too large."""
        return f"The body is larger than {self.max_bytes} bytes (MAX_REQUEST_BYTES)."


class _Body:
    """The body of one request; errors are raised while it is read."""

    __slots__ = (
        "_coding",
        "_content_type",
        "_deadline",
        "_decoder",
        "_has_arrived",
        "_is_complete",
        "_length",
        "_limits",
        "_receive",
        "_reserved_bytes",
        "_size_bytes",
        "_wire_bytes",
    )

    def __init__(
        self, limits: RequestBodyMiddleware, receive: Receive, length: int | None, content_type: bytes
    ) -> None:
        self._limits = limits
        self._receive = receive
        self._length = length
        self._content_type = content_type
        self._wire_bytes = self._size_bytes = self._reserved_bytes = 0
        self._deadline: BodyDeadline | None = None
        self._coding = ""
        self._decoder: Decoder | None = None
        self._has_arrived = self._is_complete = False

    def decode(self, scope: Scope) -> Scope:
        """Prepare to decode the body; return the scope without `Content-Encoding` and `Content-Length`."""
        values = [value for name, value in scope["headers"] if name == b"content-encoding"]
        codings = [part.strip().lower() for part in b",".join(values).decode("latin-1").split(",")]
        self._coding = ", ".join(coding for coding in codings if coding not in {"", "identity"})
        if not self._coding:
            return scope
        self._length = None
        hidden = {b"content-encoding", b"content-length"}
        return {**scope, "headers": [header for header in scope["headers"] if header[0] not in hidden]}

    async def receive(self) -> Message:
        """Return the next part of the body, decoded."""
        if self._is_complete:
            return await self._receive()
        if self._deadline is None:
            if self._coding or b"=" in self._content_type or (self._length or 0) > SMALL_BYTES:
                await self._prepare()
            self._deadline = self._limits.deadlines.start()
        message = await (self._read() if self._decoder is None else self._read_decoded(self._decoder))
        self._is_complete = not message.get("more_body", False)
        self._size_bytes += len(message.get("body", b""))
        if self._size_bytes > self._limits.max_bytes:
            raise HTTPException(413, self._limits.too_large(), headers=CLOSE)
        if self._size_bytes > self._reserved_bytes and self._size_bytes > SMALL_BYTES:
            await self._reserve(self._size_bytes - self._reserved_bytes)
        return message

    def release(self) -> None:
        """Release the memory and cancel the deadline."""
        if self._deadline is not None:
            self._deadline.cancel()
        if self._reserved_bytes:
            self._limits.budget.release(self._reserved_bytes)

    async def _prepare(self) -> None:
        """Reject unsupported encodings, and reserve memory for the declared length."""
        charset = CHARSET.search(self._content_type)
        if charset and charset[1].lower() not in UTF8:
            raise HTTPException(415, f"The charset {charset[1].decode('latin-1')} is not supported; use UTF-8.")
        if self._coding:
            coding = self._coding.removeprefix("x-")
            if coding not in CODINGS:
                detail = f"Content-Encoding {self._coding} is not supported; use gzip, deflate or none."
                raise HTTPException(415, detail, headers={"Accept-Encoding": ", ".join(CODINGS)})
            self._decoder = Decoder(coding)
        if self._length is not None and self._length > SMALL_BYTES:
            await self._reserve(self._length)

    async def _reserve(self, size: int) -> None:
        try:
            await self._limits.budget.reserve(size)
        except BodyBudgetError as error:
            detail = "Too many large requests are in progress (MAX_BODY_BYTES_IN_FLIGHT)."
            raise HTTPException(503, detail, headers={"Retry-After": "1"}) from error
        self._reserved_bytes += size

    async def _read(self) -> Message:
        assert self._deadline is not None  # noqa: S101 - set by `receive`
        try:
            with self._deadline:
                return await self._receive()
        except TimeoutError as error:
            detail = f"The body did not arrive within {self._limits.timeout_seconds:g} s (REQUEST_BODY_TIMEOUT)."
            raise HTTPException(408, detail, headers=CLOSE) from error

    async def _read_decoded(self, decoder: Decoder) -> Message:
        await asyncio.sleep(0)  # decoding blocks the event loop, so let other tasks run between pieces
        try:
            while not (piece := decoder.read()):
                if self._has_arrived:
                    decoder.finish()
                    break
                message = await self._read()
                if message["type"] == "http.disconnect":
                    return message
                self._has_arrived = not message.get("more_body", False)
                self._wire_bytes += len(message.get("body", b""))
                if self._wire_bytes > self._limits.max_bytes:
                    raise HTTPException(413, self._limits.too_large(), headers=CLOSE)
                decoder.feed(message.get("body", b""))
        except DecodingError as error:
            raise HTTPException(400, str(error)) from error
        return {"type": "http.request", "body": piece, "more_body": bool(piece)}

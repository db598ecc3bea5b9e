"""HTTP/1.1 protocol: uvicorn's httptools implementation with limits on request heads."""

import asyncio
import logging
import secrets
import socket
import struct
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from routers.responses.problems import problem
from server.observability.request_log import ON_REJECTED_HEAD, log_rejected_head, request_id

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 32_768  # twice the limit of Node.js, four times that of nginx
MAX_HEADERS = 100
HEAD_SECONDS = 20.0  # to receive the request line and headers, from their first byte
LINGER_SECONDS = 5.0  # keep reading after an error response: closing at once could destroy it in transit
INVALID = "This is not a valid HTTP/1.1 request."
LINGER_BYTES = 16_777_216
VERSIONS = ("1.1", "1.0")
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class RejectedError(Exception):
    """A request head is rejected without calling the application."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class HttpProtocol(HttpToolsProtocol):
    """One client connection.

    In addition to uvicorn's protocol it ignores `Upgrade` headers, limits the size, number and arrival time of headers,
    discards trailers, sends unchunked responses to HTTP/1.0 clients, and closes connections that send no request.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = False
        self._in_body = False
        self._has_progressed = False  # since the start of the current `data_received`
        self._is_rejected = False
        self._received_bytes = 0  # by the current `data_received`
        self._stalled_bytes = 0  # without progress: of one head, or between two parts of a body
        self._discarded_bytes = 0
        self._head_without_upgrade = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timeout for the first request."""
        super().connection_made(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._stop_timer()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes."""
        if self._is_rejected:
            self._discard(len(data))
            return
        self._received_bytes = len(data)
        self._has_progressed = False
        rest: bytes | memoryview = data
        try:
            while rest:
                try:
                    self.parser.feed_data(rest)
                    break
                except httptools.HttpParserUpgrade as upgrade:
                    # parse the head again without `Upgrade`, then the body after it
                    self.parser.feed_data(self._head_without_upgrade)
                    rest = memoryview(rest)[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            self._reject(error.__context__)
            return
        if self._in_head or self._in_body:
            self._limit_incomplete_message(len(data))

    def _limit_incomplete_message(self, size: int) -> None:
        if self._has_progressed:
            self._stalled_bytes = 0
        else:
            self._stalled_bytes += size
        if self._stalled_bytes > MAX_HEAD_BYTES:
            self._reject(_too_large())
        elif self._in_head and self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._reject, _too_slow())

    def on_message_begin(self) -> None:
        """Note the start of a request head."""
        super().on_message_begin()
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        self._in_head = self._has_progressed = True

    def on_headers_complete(self) -> None:
        """Start the application, unless the head has `Upgrade` and must be parsed again without it.

        Raises:
            RejectedError: if the head is too large or not supported.
        """
        self._in_head = False
        self._has_progressed = True
        if self._timer is not None:
            self._stop_timer()
        # a cheap upper bound first: adding up the headers of each request would cost more
        if len(self.headers) > MAX_HEADERS or self._received_bytes + self._stalled_bytes > MAX_HEAD_BYTES:
            self._check_size()
        self._stalled_bytes = 0
        if self.parser.get_http_version() not in VERSIONS:  # the parser also knows 0.9 and 2.0
            raise RejectedError("bad_request", INVALID)
        if self.parser.should_upgrade():
            self._head_without_upgrade = self._build_head_without_upgrade()
            return
        self._in_body = True
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        if not self.url.startswith(b"/"):
            self.url = _origin_form(self.url)
        super().on_headers_complete()
        self.headers = []  # a new list, so that trailers are not added to the headers of the request
        if self.scope["http_version"] == "1.0":
            self.cycle.waiting_for_100_continue = False
            self.cycle.__class__ = Http10Cycle  # uvicorn has no setting for the class
            self.cycle.transport = ResettingTransport(self.cycle)

    def on_body(self, body: bytes) -> None:
        """Forward a part of the body."""
        self._has_progressed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note the end of a request."""
        self._has_progressed = True
        if self._in_body:
            self._in_body = False
            super().on_message_complete()

    def _check_size(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if len(self.headers) > MAX_HEADERS or size > MAX_HEAD_BYTES:
            raise _too_large()

    def _build_head_without_upgrade(self) -> bytes:
        method = self.parser.get_method()
        if method == b"CONNECT":
            code, detail = "bad_request", "CONNECT is not supported: this service is not a proxy."
            raise RejectedError(code, detail)
        lines = [b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def _await_request(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _reject(self, error: BaseException | None) -> None:
        """Send an error response without calling the application, and close the connection."""
        if not isinstance(error, RejectedError):
            error = RejectedError("bad_request", INVALID)
        self._is_rejected = True
        self._stop_timer()
        cycle = self.cycle
        is_open = cycle is not None and not cycle.response_complete
        if is_open and (self.pipeline or not self._in_body):
            cycle.keep_alive = False  # finish the earlier requests first
            return
        if is_open:
            cycle.disconnected = True
            cycle.message_event.set()
        if self._in_body and cycle.response_started:
            self.transport.close()
            return
        self._write_problem(error)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _write_problem(self, error: RejectedError) -> None:
        id_ = secrets.token_hex(16)
        request_id.set(id_)
        response = problem(error.code, error.detail, headers={"Connection": "close", "X-Request-ID": id_})
        log_rejected_head(logger, response.status_code, error.code, self.client)
        if (on_rejected_head := self.app_state.get(ON_REJECTED_HEAD)) is not None:
            on_rejected_head(response.status_code, error.code)
        headers = [*self.server_state.default_headers, *response.raw_headers]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[response.status_code] + lines + b"\r\n" + bytes(response.body))

    def _discard(self, size: int) -> None:
        self._discarded_bytes += size
        if self._discarded_bytes > LINGER_BYTES:
            self.transport.close()


class Http10Cycle(RequestResponseCycle):
    """Response to an HTTP/1.0 request: not chunked; without Content-Length, closing the connection ends it."""

    _has_length = True

    async def send(self, message: Any) -> None:
        """Send a message of the response."""
        if message["type"] == "http.response.start":
            self._has_length = any(name.lower() == b"content-length" for name, _ in message.get("headers", []))
            self.chunked_encoding = None if self._has_length else False
        elif not self._has_length:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


class ResettingTransport(asyncio.Transport):
    """Resets a connection that closes before the end of the response, as only that shows the client the truncation."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        super().__init__()
        self._cycle = cycle
        self._transport = cycle.transport
        self.write = self._transport.write  # type: ignore[method-assign]
        self.abort = self._transport.abort  # type: ignore[method-assign]
        self.is_closing = self._transport.is_closing  # type: ignore[method-assign]
        self.get_extra_info = self._transport.get_extra_info  # type: ignore[method-assign]
        self.get_write_buffer_size = self._transport.get_write_buffer_size  # type: ignore[method-assign]

    def close(self) -> None:
        """Close the connection, or reset it if the response is incomplete."""
        if self._cycle.response_complete:
            self._transport.close()
            return
        connection = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._transport.abort()


def _origin_form(target: bytes) -> bytes:
    """Return the origin form (path and query) of a request target in absolute form."""
    url = httptools.parse_url(target)
    return (url.path or b"/") + (b"?" + url.query if url.query else b"")


def _too_large() -> RejectedError:
    detail = f"The request line and headers exceed {MAX_HEAD_BYTES} bytes or {MAX_HEADERS} headers."
    return RejectedError("headers_too_large", detail)


def _too_slow() -> RejectedError:
    return RejectedError("request_timeout", f"The headers did not arrive within {HEAD_SECONDS:g} s.")

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middleware.send_queue import unsent_bytes

QUICK_SECONDS = 0.05  # monitoring starts after this time, as it costs 23 µs that quick requests can save
FORCED_SHUTDOWN = ("Task cancelled, timeout graceful shutdown exceeded",)  # by uvicorn, which logs it if re-raised
CONNECTION_CHECK_SECONDS = 0.5
CHECKS = 4  # checks without progress within the write timeout before a client is dropped


class ClientDisconnectMiddleware:
    """Cancels requests whose client has disconnected or does not read its response.

    Starlette notices a disconnect only when it sends the next chunk, and uvicorn has no write timeout. As the
    outermost middleware under uvicorn it also inspects the transport; elsewhere it relies on `receive` and the duration
    of `send`.
    """

    def __init__(self, app: ASGIApp, write_timeout_seconds: float) -> None:
        self._app = app
        self._write_timeout_seconds = write_timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        monitor = _ClientMonitor(receive, send, self._write_timeout_seconds)
        try:
            await self._app(scope, monitor.receive, monitor.send)
            if monitor.cancellations:
                await asyncio.sleep(0)  # deliver a cancellation that came too late for the app
        except asyncio.CancelledError as error:
            if monitor.is_cancelled_by_others() and error.args != FORCED_SHUTDOWN:
                raise
            monitor.abort()  # the client has disconnected, so no response is sent
        finally:
            monitor.stop()


class _ClientMonitor:
    """Monitors the client of one request, and cancels the request if the client disconnects or stops reading."""

    def __init__(self, receive: Receive, send: Send, write_timeout_seconds: float) -> None:
        self._receive = receive
        self._send = send
        self._write_timeout_seconds = write_timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._listener: asyncio.Task[None] | None = None
        self._is_body_read = False
        self._is_response_complete = False
        self._is_monitoring = False
        self._pending_sends = 0
        self._check = self._loop.call_later(QUICK_SECONDS, self._start)
        self._connection_check: asyncio.TimerHandle | None = None
        self._transport = _transport_of(send)
        self.cancellations = 0
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._task = task
        self._cancelling_before = task.cancelling()

    async def receive(self) -> Message:
        """Forward the body; after its end the only possible message is `http.disconnect`."""
        if self._is_body_read:
            await asyncio.shield(self._listener or self._start_listening())
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._cancel()
            await asyncio.sleep(0)  # deliver the cancellation
        elif not message.get("more_body", False):
            self._is_body_read = True
            if self._is_monitoring:
                self._start_listening()
        return message

    async def send(self, message: Message) -> None:
        """Forward a message of the response."""
        if self._has_lost_connection():
            self._cancel()
            await asyncio.sleep(0)  # deliver the cancellation
        if not message.get("more_body", message["type"] == "http.response.start"):
            self._is_response_complete = True
        self._pending_sends += 1
        try:
            await self._send(message)
        finally:
            self._pending_sends -= 1
        if self._has_lost_connection():
            self._cancel()

    def is_cancelled_by_others(self) -> bool:
        """Return whether the task was also cancelled by anything other than this monitor."""
        return not self.cancellations or self._task.cancelling() - self._cancelling_before > self.cancellations

    def stop(self) -> None:
        """Stop monitoring, and take back the cancellations that the task has handled."""
        if self._listener is not None:
            self._listener.cancel()
        self._check.cancel()
        if self._connection_check is not None:
            self._connection_check.cancel()
        for _ in range(self.cancellations):
            self._task.uncancel()

    def abort(self) -> None:
        """Abort the connection; closing it would wait until the client has read the buffered data."""
        if self._transport is not None:
            self._transport.abort()

    def _cancel(self) -> None:
        self.cancellations += 1
        self._task.cancel()

    def _start(self) -> None:
        self._is_monitoring = True
        if self._is_body_read and self._listener is None:
            self._start_listening()
        self._check_later(None, CHECKS)
        if self._transport is not None:
            self._check_connection()

    def _check_connection(self) -> None:
        if self._has_lost_connection():
            self._cancel()
        else:
            self._connection_check = self._loop.call_later(CONNECTION_CHECK_SECONDS, self._check_connection)

    def _has_lost_connection(self) -> bool:
        """Return whether the connection was lost; uvicorn tells only the last of several pipelined requests."""
        return not self._is_response_complete and self._transport is not None and self._transport.is_closing()

    def _start_listening(self) -> asyncio.Task[None]:
        self._listener = self._loop.create_task(self._listen())
        return self._listener

    async def _listen(self) -> None:
        await self._receive()
        if not self._is_response_complete:
            self._cancel()

    def _check_later(self, unread_bytes: int | None, checks_left: int) -> None:
        delay_seconds = self._write_timeout_seconds / CHECKS
        self._check = self._loop.call_later(delay_seconds, self._check_progress, unread_bytes, checks_left)

    def _check_progress(self, unread_bytes_before: int | None, checks_left: int) -> None:
        """Drop a client that has read nothing in `CHECKS` successive checks; a slow reader is kept.

        The timer keeps running between writes, as starting and stopping it for each would cost 5 µs per token.
        """
        if not self._pending_sends:
            self._check_later(None, CHECKS)
            return
        unread_bytes = self._unread_bytes()
        has_progressed = unread_bytes_before is None or unread_bytes < unread_bytes_before
        checks_left = CHECKS if has_progressed else checks_left - 1
        if checks_left > 0:
            self._check_later(unread_bytes, checks_left)
            return
        self.abort()
        self._cancel()

    def _unread_bytes(self) -> int:
        """Return how many bytes the client has not received, in the buffers of the transport and the kernel."""
        if self._transport is None or self._transport.is_closing():
            return 0
        size = self._transport.get_write_buffer_size()
        connection = self._transport.get_extra_info("socket")
        return size if connection is None else size + unsent_bytes(connection)


def _transport_of(send: Send) -> asyncio.Transport | None:
    """Return the transport if `send` is uvicorn's own, a method of an object that has it; otherwise None."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    return transport if hasattr(transport, "get_write_buffer_size") and hasattr(transport, "abort") else None

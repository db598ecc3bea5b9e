import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middleware.send_queue import unsent_bytes

QUICK_SECONDS = 0.05  # a request that is over sooner needs no watch, which costs 23 µs
FORCED_SHUTDOWN = ("Task cancelled, timeout graceful shutdown exceeded",)  # uvicorn, which logs it if it gets it back
CHECKS = 4  # of a client that makes no room to write, before it is dropped


class ClientDisconnectMiddleware:
    """Cancels a request whose client has left, or does not read.

    Starlette notices neither before the next chunk is sent, and uvicorn has no limit on how long a write may take.
    Outermost, where it gets uvicorn's own `send`, it also sees the connection; behind another layer, or in another
    server, it goes by what `receive` tells and how long a `send` takes.
    """

    def __init__(self, app: ASGIApp, write_timeout_seconds: float) -> None:
        self._app = app
        self._write_timeout_seconds = write_timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        watch = _Watch(receive, send, self._write_timeout_seconds)
        try:
            await self._app(scope, watch.receive, watch.send)
            if watch.cancellations:
                await asyncio.sleep(0)  # where a cancellation arrives that came too late for the app
        except asyncio.CancelledError as error:
            if watch.is_cancelled_by_others() and error.args != FORCED_SHUTDOWN:
                raise
            watch.abort()  # nobody is there to be told
        finally:
            watch.end()


class _Watch:
    def __init__(self, receive: Receive, send: Send, write_timeout_seconds: float) -> None:
        self._receive = receive
        self._send = send
        self._write_timeout_seconds = write_timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._listener: asyncio.Task[None] | None = None
        self._is_read = self._is_answered = self._is_slow = False
        self._sending = 0
        self._check = self._loop.call_later(QUICK_SECONDS, self._begin)
        self._transport = _transport_behind(send)
        self.cancellations = 0
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        self._task = task
        self._cancelling_before = task.cancelling()

    async def receive(self) -> Message:
        """Pass the body on; once it is whole, the next message can only be that the client has left."""
        if self._is_read:
            await asyncio.shield(self._listener or self._begin_listening())
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._cancel()
            await asyncio.sleep(0)  # where the cancellation arrives
        elif not message.get("more_body", False):
            self._is_read = True
            if self._is_slow:
                self._begin_listening()
        return message

    async def send(self, message: Message) -> None:
        """Pass on what is to be sent, for as long as the client makes room for it."""
        if not message.get("more_body", message["type"] == "http.response.start"):
            self._is_answered = True
        self._sending += 1
        try:
            await self._send(message)
        finally:
            self._sending -= 1
        # uvicorn tells a lost connection only to the last of the requests that came over it in a row
        if not self._is_answered and self._transport is not None and self._transport.is_closing():
            self._cancel()

    def is_cancelled_by_others(self) -> bool:
        """Whether a cancellation is not, or not only, the watch's own."""
        return not self.cancellations or self._task.cancelling() - self._cancelling_before > self.cancellations

    def end(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
        self._check.cancel()
        for _ in range(self.cancellations):
            self._task.uncancel()

    def abort(self) -> None:
        """Cut the connection; closing it would wait for the client to read what is buffered."""
        if self._transport is not None:
            self._transport.abort()

    def _cancel(self) -> None:
        self.cancellations += 1
        self._task.cancel()

    def _begin(self) -> None:
        self._is_slow = True
        if self._is_read and self._listener is None:
            self._begin_listening()
        self._check_later(None, CHECKS)

    def _begin_listening(self) -> asyncio.Task[None]:
        self._listener = self._loop.create_task(self._listen())
        return self._listener

    async def _listen(self) -> None:
        await self._receive()
        if not self._is_answered:
            self._cancel()

    def _check_later(self, unread: int | None, left: int) -> None:
        self._check = self._loop.call_later(self._write_timeout_seconds / CHECKS, self._look, unread, left)

    def _look(self, unread_before: int | None, left: int) -> None:
        """Drop the client if it took nothing at any of the looks; however slowly it reads, it may go on.

        The timer runs on between two writes: to set and stop one for each costs 5 µs a token.
        """
        if not self._sending:
            self._check_later(None, CHECKS)
            return
        unread = self._unread()
        left = left - 1 if unread_before is not None and unread >= unread_before else CHECKS
        if left > 0:
            self._check_later(unread, left)
            return
        self.abort()
        self._cancel()

    def _unread(self) -> int:
        """Return how many bytes the client has not taken, in our buffer and the kernel's."""
        if self._transport is None or self._transport.is_closing():
            return 0
        size = self._transport.get_write_buffer_size()
        connection = self._transport.get_extra_info("socket")
        return size if connection is None else size + unsent_bytes(connection)


def _transport_behind(send: Send) -> asyncio.Transport | None:
    """Return the connection behind uvicorn's own `send`, which is a method of what has it; of any other, None."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    return transport if hasattr(transport, "get_write_buffer_size") and hasattr(transport, "abort") else None

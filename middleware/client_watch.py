import asyncio
import fcntl
import struct
import termios

from starlette.types import ASGIApp, Message, Receive, Scope, Send

QUICK_SECONDS = 0.05  # a request that is over sooner needs no watch, which costs 23 µs
CHECKS = 4  # of a client that makes no room to write, before it is dropped


class ClientWatchMiddleware:
    """Cancels a request whose client has left, or does not read.

    The outermost one: it needs the server's own `send`. Starlette notices neither before the next chunk is sent,
    and uvicorn has no limit on how long a write may take.
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
        except asyncio.CancelledError:
            # The client has left, or the server is ending and cancels what still runs: nobody is there to be told.
            watch.task.uncancel()
            watch.abort()
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
        # uvicorn lets only its own `send` reach the socket
        cycle = getattr(send, "__self__", None)
        self._transport: asyncio.Transport | None = cycle and cycle.transport
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        self.task = task

    async def receive(self) -> Message:
        """Pass the body on; once it is whole, the next message can only be that the client has left."""
        if self._is_read:
            await asyncio.shield(self._listener or self._begin_listening())
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.task.cancel()
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
            self.task.cancel()

    def end(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
        self._check.cancel()

    def abort(self) -> None:
        """Cut the connection; closing it would wait for the client to read what is buffered."""
        if self._transport is not None:
            self._transport.abort()

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
            self.task.cancel()

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
        self.task.cancel()

    def _unread(self) -> int:
        """Return how many bytes the client has not taken, in our buffer and the kernel's."""
        if self._transport is None or self._transport.is_closing():
            return 0
        fd = self._transport.get_extra_info("socket").fileno()
        (in_kernel,) = struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0" * 4))
        return self._transport.get_write_buffer_size() + int(in_kernel)

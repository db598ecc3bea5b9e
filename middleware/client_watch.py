import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


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
            if not watch.client_is_gone:
                raise
            watch.task.uncancel()
        finally:
            watch.end()


class _Watch:
    def __init__(self, receive: Receive, send: Send, write_timeout_seconds: float) -> None:
        self._receive = receive
        self._send = send
        self._write_timeout_seconds = write_timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._listener: asyncio.Task[None] | None = None
        self._is_answered = False
        self.client_is_gone = False
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        self.task = task

    async def receive(self) -> Message:
        """Pass the body on; once it is whole, the next message can only be that the client has left."""
        if self._listener is not None:
            await asyncio.shield(self._listener)
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._cancel()
        elif not message.get("more_body", False):
            self._listener = self._loop.create_task(self._listen())
        return message

    async def send(self, message: Message) -> None:
        """Pass on what is to be sent, for as long as the client makes room for it."""
        if not message.get("more_body", message["type"] == "http.response.start"):
            self._is_answered = True
        limit = self._loop.call_later(self._write_timeout_seconds, self._drop)
        try:
            await self._send(message)
        finally:
            limit.cancel()

    def end(self) -> None:
        if self._listener is not None:
            self._listener.cancel()

    async def _listen(self) -> None:
        await self._receive()
        if not self._is_answered:
            self._cancel()

    def _cancel(self) -> None:
        self.client_is_gone = True
        self.task.cancel()

    def _drop(self) -> None:
        # Closing would wait for the client to read what is buffered; uvicorn lets only its own `send` reach the socket.
        cycle = getattr(self._send, "__self__", None)
        if cycle is not None:
            cycle.transport.abort()
        self._cancel()

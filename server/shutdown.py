"""Graceful shutdown: reject new requests, drain open ones, then notify clients."""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from functools import partial
from types import FrameType, TracebackType

from services.ollama.errors import DrainTimeoutError, ShuttingDownError
from services.ollama.timeouts import Interruption

logger = logging.getLogger(__name__)

NOTIFY_SECONDS = 2.0


class Shutdown:
    """Delays the server's shutdown on SIGTERM and SIGINT until the open requests have ended.

    uvicorn closes its listening sockets at once, so it could not notify clients of the shutdown.
    """

    def __init__(self, *, grace_seconds: float, delay_seconds: float = 0) -> None:
        self._grace_seconds = grace_seconds
        self._delay_seconds = delay_seconds
        self._open: set[Interruption] = set()
        self._all_ended = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None
        self.is_draining = False  # readiness is 503; new requests are accepted until `begun`
        self.begun = False

    def drain_guard(self) -> Interruption:
        """Return a context manager that limits an open request to the grace period.

        Raises:
            DrainTimeoutError: within the context, when the grace period is over.
            ShuttingDownError: at once, if new requests are no longer accepted.
        """
        if self.begun:
            detail = "The service is shutting down; try again in a moment."
            raise ShuttingDownError(detail, retry_after_seconds=1)
        return _DrainGuard(self._open, self._all_ended)

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Wrap the server's signal handlers; a no-op outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        loop = asyncio.get_running_loop()

        def handle(number: int, frame: FrameType | None) -> None:
            server = handlers[signal.Signals(number)]
            if not callable(server):
                return
            if self.is_draining:
                server(number, frame)
            else:
                self.is_draining = True
                # Ctrl-C is local: there is no load balancer to wait for
                delay_seconds = 0 if number == signal.SIGINT else self._delay_seconds
                self.begun = delay_seconds == 0
                # no context: its log lines are not those of the request that the signal has interrupted
                loop.call_soon_threadsafe(self._begin, delay_seconds, lambda: server(number, None), context=Context())

        for number in handlers:
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _begin(self, delay_seconds: float, stop_server: Callable[[], object]) -> None:
        self._ending = asyncio.create_task(self._end(delay_seconds, stop_server))

    async def _end(self, delay_seconds: float, stop_server: Callable[[], object]) -> None:
        if delay_seconds:
            logger.info("shutdown: readiness is now 503; new requests are accepted for another %g s", delay_seconds)
            await asyncio.sleep(delay_seconds)
            self.begun = True
        if self._open:
            logger.info("shutdown: waiting up to %g s for %d open requests", self._grace_seconds, len(self._open))
            await self._until_all_ended(self._grace_seconds)
            for guard in self._open:
                guard.interrupt()
            await self._until_all_ended(NOTIFY_SECONDS)
        stop_server()

    async def _until_all_ended(self, seconds: float) -> None:
        self._all_ended.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._open:
                    await self._all_ended.wait()
                    self._all_ended.clear()


class _DrainGuard(Interruption):
    def __init__(self, open_: set[Interruption], all_ended: asyncio.Event) -> None:
        detail = "The service is shutting down, and the response did not finish within the grace period."
        super().__init__(partial(DrainTimeoutError, detail, retry_after_seconds=1))
        self._open = open_
        self._all_ended = all_ended

    async def __aenter__(self) -> None:
        await super().__aenter__()
        self._open.add(self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.discard(self)
        if not self._open:
            self._all_ended.set()
        await super().__aexit__(kind, error, traceback)

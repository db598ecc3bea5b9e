"""The end of the process: no new work, some time for what runs, then a clean word to each client."""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType, TracebackType

from services.ollama.errors import DrainTimeoutError, ShuttingDownError
from services.ollama.timeouts import Timeout

logger = logging.getLogger(__name__)

NOTIFY_SECONDS = 2.0


class Shutdown:
    """Holds the server's reaction to SIGTERM and SIGINT back until the open requests have ended.

    uvicorn on its own closes its sockets at once, so that nobody could be told that the service is ending.
    """

    def __init__(self, *, grace_seconds: float, delay_seconds: float = 0) -> None:
        self._grace_seconds = grace_seconds
        self._delay_seconds = delay_seconds
        self._open: set[Timeout] = set()
        self._all_ended = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None
        self.is_draining = False  # no longer ready, but what still comes is served
        self.begun = False

    def drain_guard(self) -> Timeout:
        """Let what `async with` holds run until the time of grace is over.

        Raises:
            DrainTimeoutError: then.
            ShuttingDownError: at once if the shutdown has begun.
        """
        if self.begun:
            detail = "The service is ending; ask again in a moment."
            raise ShuttingDownError(detail, retry_after_seconds=1)
        return _DrainGuard(self._open, self._all_ended)

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Stand before the signal handlers that the server has set; only the main thread has any."""
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
                # who presses Ctrl-C waits for no load balancer
                delay_seconds = 0 if number == signal.SIGINT else self._delay_seconds
                self.begun = delay_seconds == 0
                loop.call_soon_threadsafe(self._begin, delay_seconds, lambda: server(number, None))

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
            logger.info("draining: not ready any longer; new requests are served for another %g s", delay_seconds)
            await asyncio.sleep(delay_seconds)
            self.begun = True
        if self._open:
            logger.info("ending; %d open requests may go on for %g s", len(self._open), self._grace_seconds)
            await self._until_all_ended(self._grace_seconds)
            for limit in self._open:
                limit.expire()
            await self._until_all_ended(NOTIFY_SECONDS)
        stop_server()

    async def _until_all_ended(self, seconds: float) -> None:
        self._all_ended.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._open:
                    await self._all_ended.wait()
                    self._all_ended.clear()


class _DrainGuard(Timeout):
    def __init__(self, open_: set[Timeout], all_ended: asyncio.Event) -> None:
        detail = "The service is ending, and could wait for this answer no longer."
        super().__init__(None, partial(DrainTimeoutError, detail, retry_after_seconds=1))
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

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from services.ollama.errors import OverloadedError
from services.operation import note_queue_wait

MIN_RETRY_AFTER_SECONDS = 1.0
MAX_RETRY_AFTER_SECONDS = 120.0
WEIGHT_OF_LATEST = 0.2


class ConcurrencyLimiter:
    """Limits concurrent requests; the others wait in a bounded first-in, first-out queue with a timeout.

    Ollama's own queue for a loaded model has no such limits.
    """

    def __init__(self, *, slots: int, queue_size: int, queue_timeout_seconds: float) -> None:
        self._slots = slots
        self._queue_size = queue_size
        self._queue_timeout_seconds = queue_timeout_seconds
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._average_seconds = 0.0
        self.running = 0

    @property
    def slots(self) -> int:
        """The number of requests that may run at once."""
        return self._slots

    @property
    def queue_size(self) -> int:
        """The number of requests that may wait."""
        return self._queue_size

    @property
    def queued(self) -> int:
        """The number of requests waiting for a slot."""
        return len(self._waiting)

    def slot(self) -> AbstractAsyncContextManager[None]:
        """Return a context manager that holds a slot, waiting for one if necessary.

        Raises:
            OverloadedError: on entering, if the queue is full, or the wait exceeds the queue timeout.
        """
        return _Slot(self._enter, self._leave)

    async def _enter(self) -> float:
        """Wait for a slot; return when it was granted, in seconds of the monotonic clock."""
        requested_at = time.monotonic()
        if self.running < self._slots:
            self.running += 1
            note_queue_wait(requested_at, requested_at, has_slot=True)
            return requested_at
        has_slot = False
        try:
            await self._wait()
            has_slot = True
        finally:
            entered_at = time.monotonic()
            note_queue_wait(requested_at, entered_at, has_slot=has_slot)
        return entered_at

    async def _wait(self) -> None:
        if len(self._waiting) >= self._queue_size:
            raise self._overloaded(f"The queue is full: {self._queue_size} requests are waiting (OLLAMA_QUEUE_SIZE).")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = None
        try:
            async with asyncio.timeout(self._queue_timeout_seconds):
                await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():
                self._release_slot()  # the slot was granted at the same moment
            self._waiting.pop(waiter, None)
            if isinstance(error, TimeoutError):
                detail = f"No slot became free within {self._queue_timeout_seconds:g} s (OLLAMA_QUEUE_TIMEOUT)."
                raise self._overloaded(detail) from error
            raise

    def _leave(self, entered_at: float) -> None:
        held_seconds = time.monotonic() - entered_at
        latest = WEIGHT_OF_LATEST if self._average_seconds else 1.0
        self._average_seconds += latest * (held_seconds - self._average_seconds)
        self._release_slot()

    def _release_slot(self) -> None:
        while self._waiting:
            waiter, _ = self._waiting.popitem(last=False)
            if not waiter.done():
                waiter.set_result(None)
                return
        self.running -= 1

    def _overloaded(self, detail: str) -> OverloadedError:
        seconds = self._average_seconds * (len(self._waiting) + 1) / self._slots
        seconds = min(max(seconds, MIN_RETRY_AFTER_SECONDS), MAX_RETRY_AFTER_SECONDS)
        return OverloadedError(detail, retry_after_seconds=seconds)


class _Slot(AbstractAsyncContextManager[None]):
    """A class, as a generator would cost 4 µs more per use."""

    def __init__(self, enter: Callable[[], Awaitable[float]], leave: Callable[[float], None]) -> None:
        self._enter = enter
        self._leave = leave

    async def __aenter__(self) -> None:
        self._entered_at = await self._enter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave(self._entered_at)

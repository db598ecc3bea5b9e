import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.call_stats import add_queue_seconds
from services.ollama.errors import OverloadedError

MIN_RETRY_AFTER_SECONDS = 1.0
MAX_RETRY_AFTER_SECONDS = 120.0
WEIGHT_OF_LATEST = 0.2


class ConcurrencyLimiter:
    """Lets a number of requests run at once and a number wait, first come first served, for a limited time.

    Ollama's own queue for a loaded model has neither limit.
    """

    def __init__(self, *, places: int, queue_size: int, queue_timeout_seconds: float) -> None:
        self._places = places
        self._queue_size = queue_size
        self._queue_timeout_seconds = queue_timeout_seconds
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._average_seconds = 0.0
        self.running = 0

    @property
    def queued(self) -> int:
        """The number of requests that wait for a place."""
        return len(self._waiting)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a place.

        Raises:
            OverloadedError: if the queue is full, or the wait in it was too long.
        """
        asked_at = time.monotonic()
        try:
            await self._enter()
        finally:
            entered_at = time.monotonic()
            add_queue_seconds(entered_at - asked_at)
        try:
            yield
        finally:
            self._leave(time.monotonic() - entered_at)

    async def _enter(self) -> None:
        if self.running < self._places:
            self.running += 1
            return
        if len(self._waiting) >= self._queue_size:
            raise self._overloaded(f"{self._queue_size} requests already wait for a place (OLLAMA_QUEUE_SIZE).")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        try:
            async with asyncio.timeout(self._queue_timeout_seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._pass_on()  # the place came in the same moment
            self._waiting.pop(turn, None)
            if isinstance(error, TimeoutError):
                detail = f"No place came free within {self._queue_timeout_seconds:g} s (OLLAMA_QUEUE_TIMEOUT)."
                raise self._overloaded(detail) from error
            raise

    def _leave(self, held_seconds: float) -> None:
        latest = WEIGHT_OF_LATEST if self._average_seconds else 1.0
        self._average_seconds += latest * (held_seconds - self._average_seconds)
        self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1

    def _overloaded(self, detail: str) -> OverloadedError:
        seconds = self._average_seconds * (len(self._waiting) + 1) / self._places
        seconds = min(max(seconds, MIN_RETRY_AFTER_SECONDS), MAX_RETRY_AFTER_SECONDS)
        return OverloadedError(detail, retry_after_seconds=seconds)

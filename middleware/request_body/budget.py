import asyncio
from collections import deque

WAIT_SECONDS = 5.0


class BodyBudgetError(Exception):
    """The budget stayed exhausted for `WAIT_SECONDS`."""


class BodyBudget:
    """Limits the memory of all large request bodies together; waiting requests are served in order."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.used_bytes = 0

    async def reserve(self, size: int) -> None:
        """Reserve a number of bytes, waiting until they are available.

        Raises:
            BodyBudgetError: if they are not available within `WAIT_SECONDS`.
        """
        if not self._waiting and self.used_bytes + size <= self._max_bytes:
            self.used_bytes += size
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, waiter))
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await waiter
        except TimeoutError:
            self._leave(size, waiter)
            raise BodyBudgetError from None
        except asyncio.CancelledError:
            self._leave(size, waiter)
            raise

    def release(self, size: int) -> None:
        """Release a number of bytes, and grant them to waiting requests."""
        self.used_bytes -= size
        self._admit()

    def _leave(self, size: int, waiter: asyncio.Future[None]) -> None:
        if waiter.cancelled():
            self._waiting = deque(item for item in self._waiting if item[1] is not waiter)
            self._admit()
        else:  # the bytes were granted at the same moment
            self.release(size)

    def _admit(self) -> None:
        while self._waiting and self.used_bytes + self._waiting[0][0] <= self._max_bytes:
            size, waiter = self._waiting.popleft()
            if not waiter.done():
                self.used_bytes += size
                waiter.set_result(None)

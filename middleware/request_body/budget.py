import asyncio
from collections import deque

WAIT_SECONDS = 5.0


class BodyBudgetError(Exception):
    """There was no room for a body for as long as one may wait."""


class BodyBudget:
    """Memory that the large bodies of all requests may take together; who waits for it is served in order."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.used_bytes = 0

    async def take(self, size: int) -> None:
        """Take room for so many bytes, at once or when others have given it back.

        Raises:
            BodyBudgetError: if that takes longer than a few seconds.
        """
        if not self._waiting and self.used_bytes + size <= self._max_bytes:
            self.used_bytes += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await turn
        except TimeoutError:
            self._leave(size, turn)
            raise BodyBudgetError from None
        except asyncio.CancelledError:
            self._leave(size, turn)
            raise

    def give_back(self, size: int) -> None:
        """Give room back, to those who wait."""
        self.used_bytes -= size
        self._admit()

    def _leave(self, size: int, turn: asyncio.Future[None]) -> None:
        if turn.cancelled():
            self._waiting = deque(waiting for waiting in self._waiting if waiting[1] is not turn)
            self._admit()
        else:  # the turn came at the same moment
            self.give_back(size)

    def _admit(self) -> None:
        while self._waiting and self.used_bytes + self._waiting[0][0] <= self._max_bytes:
            size, turn = self._waiting.popleft()
            if not turn.done():
                self.used_bytes += size
                turn.set_result(None)

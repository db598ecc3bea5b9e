import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One `T` for each running event loop, opened at first use.

    Sockets and locks live on one loop, while the singleton is used from many: the server's, a test's, a worker
    thread's. Where nobody closes it, `asyncio.run` does: it ends the async generator behind `open_`.
    """

    def __init__(self, open_: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._open = open_
        self._opened: dict[asyncio.AbstractEventLoop, tuple[AbstractAsyncContextManager[T], T]] = {}

    async def get(self) -> T:
        """Return the one of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._opened:
            for other in list(self._opened):
                if other.is_closed():
                    self._opened.pop(other, None)
            manager = self._open()
            self._opened[loop] = manager, await manager.__aenter__()
        return self._opened[loop][1]

    async def close(self) -> None:
        """Close the one of the running loop, if there is one."""
        opened = self._opened.pop(asyncio.get_running_loop(), None)
        if opened is not None:
            await opened[0].__aexit__(None, None, None)

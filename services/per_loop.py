import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One instance of `T` per running event loop, opened on first use.

    Sockets and locks belong to one loop, while the singleton is used from several: the server's, a test's, a worker
    thread's. If `close` is never called, `asyncio.run` closes the instance with the async generator behind `open_`.
    """

    def __init__(self, open_: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._open = open_
        self._slots: dict[asyncio.AbstractEventLoop, _Slot[T]] = {}

    async def get(self) -> T:
        """Return the instance of the running loop; concurrent first callers share one.

        If opening fails, the error is raised to the caller and the next caller tries again.
        """
        loop = asyncio.get_running_loop()
        slot = self._slots.get(loop)
        if slot is None:
            for other in list(self._slots):
                if other.is_closed():
                    self._slots.pop(other, None)
            slot = self._slots[loop] = _Slot()
        if slot.opened is not None:
            return slot.opened[1]
        async with slot.lock:
            if slot.opened is None:
                manager = self._open()
                slot.opened = manager, await manager.__aenter__()
            return slot.opened[1]

    def opened(self) -> list[T]:
        """Return the instances that are open, of all loops."""
        return [slot.opened[1] for slot in list(self._slots.values()) if slot.opened is not None]

    async def close(self) -> None:
        """Close the instance of the running loop, if there is one."""
        slot = self._slots.get(asyncio.get_running_loop())
        if slot is None:
            return
        async with slot.lock:
            opened, slot.opened = slot.opened, None
            if opened is not None:
                await opened[0].__aexit__(None, None, None)


class _Slot(Generic[T]):
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.opened: tuple[AbstractAsyncContextManager[T], T] | None = None

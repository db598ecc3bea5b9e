import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from services.ollama.errors import OllamaUnavailableError

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Coalesces concurrent calls: one task runs, all callers get its result or error.

    Cancelling one caller does not cancel the task for the others.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._task: asyncio.Task[T] | None = None

    def task(self) -> asyncio.Task[T]:
        """Return the running task, or start one; an error that no caller awaits is ignored."""
        if self._task is None:
            self._task = asyncio.create_task(self._work())
            self._task.add_done_callback(self._finished)
        return self._task

    async def __call__(self) -> T:
        """Return the result of the running task, or start one."""
        task = self.task()
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if task.cancelled() and caller is not None and not caller.cancelling():
                detail = "The connection to Ollama was closed meanwhile."
                raise OllamaUnavailableError(detail) from None
            raise

    async def cancel(self) -> None:
        """Cancel the running task, if any."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _finished(self, task: asyncio.Task[T]) -> None:
        self._task = None
        if not task.cancelled():
            task.exception()  # mark as retrieved, even if every caller was cancelled

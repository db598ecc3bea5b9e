"""Timeouts that raise `OllamaError`."""

import asyncio
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

from services.ollama.errors import OllamaError, OllamaTimeoutError


class Timeout:
    """`asyncio.timeout` that raises an `OllamaError`; a class, as a generator would cost 4 µs more per use."""

    def __init__(self, seconds: float | None, error: Callable[[], OllamaError]) -> None:
        self._timeout = asyncio.timeout(seconds)
        self._error = error

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError as timeout:
            raise self._error() from timeout


class Interruption:
    """A block that `interrupt` ends with an `OllamaError`.

    It works as `asyncio.timeout(None)` does, whose timers and states would cost 5 µs more per use.
    """

    def __init__(self, error: Callable[[], OllamaError]) -> None:
        self._error = error
        self._task: asyncio.Task[Any] | None = None
        self._is_interrupted = False

    async def __aenter__(self) -> None:
        self._task = task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._cancelling_before = task.cancelling()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self._is_interrupted and task is not None:
            is_ours = task.uncancel() <= self._cancelling_before
            if is_ours and isinstance(error, asyncio.CancelledError):
                raise self._error() from error

    def interrupt(self) -> None:
        """End the block."""
        if self._task is not None and not self._is_interrupted:
            self._is_interrupted = True
            self._task.cancel()


def deadline(seconds: float, setting: str, waiting_for: str, *, share: float = 1) -> Timeout:
    """Return a timeout of `seconds * share`; the error names the full value and its setting.

    Raises:
        OllamaTimeoutError: from the context manager, when it expires.
    """
    return Timeout(seconds * share, partial(timeout_error, seconds, setting, waiting_for))


def timeout_error(seconds: float, setting: str, waiting_for: str) -> OllamaTimeoutError:
    """Return the error for an expired timeout."""
    return OllamaTimeoutError(f"Ollama took longer than {seconds:g} s for {waiting_for} ({setting}).")


class IdleTimeout:
    """Limits the time between two chunks; calls `fail` with the error if a read has waited too long.

    One timer per stream, rescheduled when it fires; one per read would cost 7 µs per token.
    """

    def __init__(self, seconds: float, fail: Callable[[OllamaError], None]) -> None:
        self._seconds = seconds
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting_since: float | None = None

    def begin(self) -> None:
        """Start the timeout of a read."""
        self._waiting_since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._check)

    def end(self) -> None:
        """Stop the timeout of a read."""
        self._waiting_since = None

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        now = self._loop.time()
        due = (self._waiting_since or now) + self._seconds
        if due > now:
            self._timer = self._loop.call_at(due, self._check)
        else:
            self._fail(timeout_error(self._seconds, "OLLAMA_STREAM_IDLE_TIMEOUT", "the next chunk"))

"""Loaded models: loading, unloading, and slots that a cancelled request leaves occupied."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from simulator.clock import rfc3339
from simulator.models import Model

KEEP_ALIVE_SECONDS = 300.0
LAUNCH_OPTIONS = (
    "num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict",
)  # fmt: skip
"""Options that Ollama starts a model with: another value reloads it."""
_FOR_EVER = timedelta(days=365 * 290)


@dataclass(eq=False)
class _Runner:
    model: Model
    launched_with: tuple[Any, ...]
    context_length: int
    keep_alive_seconds: float = KEEP_ALIVE_SECONDS
    idle_at: datetime | None = None
    """When it last had nothing to do; None until it first has."""
    requests: int = 0
    """Number of requests in flight; the model is unloaded only after they have ended."""
    has_lost_slot: bool = False

    @property
    def expires_at(self) -> datetime:
        """The expiry in /api/ps; constant while requests are in flight, unless the model was never idle."""
        seconds = self.keep_alive_seconds
        left = _FOR_EVER if seconds < 0 or seconds > _FOR_EVER.total_seconds() else timedelta(seconds=seconds)
        return (self.idle_at or datetime.now(UTC)) + left

    @property
    def is_over(self) -> bool:
        """Whether the model must be unloaded now."""
        return not self.requests and self.idle_at is not None and self.expires_at <= datetime.now(UTC)


@dataclass
class Runners:
    """The loaded models; models of the same weights share one.

    A model whose slot is lost lets requests wait for ever; unloading it cures that.
    """

    load_seconds: float
    lost_slot_probability: float = 0.0
    """The probability that cancelling a stream leaves the model without its slot."""
    loads: Counter[str] = field(default_factory=Counter)
    """Number of loads by model, under its listed name."""
    _running: dict[str, _Runner] = field(default_factory=dict)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    _held: dict["asyncio.Task[Any] | None", _Runner] = field(default_factory=dict)

    async def load(self, model: Model, options: dict[str, Any], keep_alive: float | None) -> int:
        """Load the model unless it runs as the options ask; return how long it took in ns.

        The running task holds it until `release()`. As with Ollama, a client that leaves ends the load it caused, and
        the next waiter starts again.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        wanted = tuple(options.get(key) for key in LAUNCH_OPTIONS)
        async with self._locks.setdefault(model.weights, asyncio.Lock()):
            runner = self._alive().get(model.weights)
            if runner is None or runner.launched_with != wanted:
                self._running.pop(model.weights, None)
                self.loads[model.name.shortest] += 1
                if self.load_seconds:
                    await asyncio.sleep(self.load_seconds)
                context = min(int(options.get("num_ctx") or 4096), model.context_length)
                runner = self._running[model.weights] = _Runner(model, wanted, context)
            if keep_alive is not None:
                runner.keep_alive_seconds = keep_alive
            runner.requests += 1
            self._held[asyncio.current_task()] = runner
        return max(1, int((loop.time() - began) * 1e9))

    async def slot(self) -> None:
        """Wait until the model that the running task has loaded can work: for ever if its slot is lost."""
        if self._held[asyncio.current_task()].has_lost_slot:
            await asyncio.get_running_loop().create_future()

    def release(self, *, cancelled_in_stream: bool) -> None:
        """Release the model that the current task uses, if any."""
        runner = self._held.pop(asyncio.current_task(), None)
        if runner is None:
            return
        if cancelled_in_stream and random.random() < self.lost_slot_probability:
            runner.has_lost_slot = True
        runner.requests -= 1
        if not runner.requests:
            runner.idle_at = datetime.now(UTC)

    def lose_slot(self, model: Model) -> None:
        """Make a loaded model lose its slot.

        Raises:
            KeyError: It does not run.
        """
        self._alive()[model.weights].has_lost_slot = True

    def crash(self, model: Model) -> None:
        """Unload a model at once, even if requests are in flight."""
        self._running.pop(model.weights, None)

    def unload(self, model: Model) -> None:
        """Unload a model that runs, once the requests that hold it have ended."""
        runner = self._running.get(model.weights)
        if runner is not None:
            runner.keep_alive_seconds = 0
            runner.idle_at = datetime.now(UTC)

    def clear(self) -> None:
        """Forget every model that runs, as a restart does."""
        self._running.clear()
        self._locks.clear()

    def ps(self) -> list[dict[str, Any]]:
        """Return the items of /api/ps, the longest lifetime first."""
        runners = sorted(self._alive().values(), key=lambda runner: runner.expires_at, reverse=True)
        return [
            {
                "name": runner.model.name.shortest,
                "model": runner.model.name.shortest,
                "size": runner.model.size,
                "digest": runner.model.digest,
                "details": runner.model.details,
                "expires_at": rfc3339(runner.expires_at),
                "size_vram": 0,
                "context_length": runner.context_length,
            }
            for runner in runners
        ]

    def _alive(self) -> dict[str, _Runner]:
        for weights in [weights for weights, runner in self._running.items() if runner.is_over]:
            del self._running[weights]
        return self._running

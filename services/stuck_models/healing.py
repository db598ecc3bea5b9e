"""Handling of stuck models: unload them, or reject requests to them until one succeeds."""

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from services.ollama.errors import ModelStuckError, OllamaError
from services.ollama.types.model_names import ModelName
from services.stuck_models.in_flight import InFlightRequest
from services.stuck_models.loaded_models import LoadedModels

logger = logging.getLogger(__name__)

UNLOAD_SECONDS = 8.0
HEAL_INTERVAL_SECONDS = 60.0
MIN_RETRY_SECONDS = 5.0
HEALED_AFTER_SECONDS = 2.0
"""A model that may be unloaded again responds this much later: it is noticed once a second, and unloaded first."""

State = Literal["reloading", "reloaded", "stuck"]
Event = Literal["noticed", "reloaded", "unload_failed"]
Verdict = asyncio.Future[ModelStuckError | None]


@dataclass(slots=True)
class StuckReport:
    """A model that was found stuck, and what was done; Unix times in seconds.

    In the state `stuck`, requests to it are rejected until one succeeds.
    """

    model: str
    state: State
    noticed_at: float
    reloads: int = 0
    reloaded_at: float | None = None


@dataclass(slots=True, eq=False)
class _Refusal:
    """A stuck model that is not unloaded; one request at a time, the probe, finds out whether it responds again."""

    model: ModelName
    names: set[ModelName]
    probe: InFlightRequest | None = None


class StuckModelHealing:
    """Unloads stuck models, at most once a minute each; rejects requests to those that are not unloaded.

    `counts` counts events for metrics; `reports` has the last finding of each model.
    """

    def __init__(self, loaded: LoadedModels, *, heals: bool) -> None:
        self._loaded = loaded
        self._heals = heals
        self._refusals: dict[ModelName, _Refusal] = {}
        self._healings: dict[ModelName, Verdict] = {}
        self._healed_at: dict[ModelName, float] = {}
        self.counts: Counter[Event] = Counter()
        self.reports: dict[ModelName, StuckReport] = {}

    @property
    def refuses(self) -> bool:
        """Whether requests to any model are rejected."""
        return bool(self._refusals)

    @property
    def is_idle(self) -> bool:
        """Whether no model is stuck or being unloaded."""
        return not self._refusals and not self._healings

    @property
    def is_pending(self) -> bool:
        """Whether a stuck model is to be unloaded once that is allowed."""
        return self._heals and bool(self._refusals)

    def due(self) -> list[tuple[ModelName, set[ModelName]]]:
        """Return the stuck models that may be unloaded now, each with all names of its runner."""
        refusals = {id(refusal): refusal for refusal in self._refusals.values()} if self._heals else {}
        return [(one.model, one.names) for one in refusals.values() if self._seconds_to_healing(one.names) <= 0]

    @property
    def stuck(self) -> int:
        """How many models are stuck or being reloaded."""
        return sum(report.state != "reloaded" for report in self.reports.values())

    async def admit(self, request: InFlightRequest) -> None:
        """Hold a request back while its model is unloaded.

        Raises:
            ModelStuckError: if its model is stuck, and another request is finding out whether it responds again.
        """
        if self._healings and request.name in self._healings:
            await asyncio.shield(self._healings[request.name])
        if self._refusals and (refusal := self.refusal_of(request)) is not None:
            refusal.probe = request

    def refusal_of(self, request: InFlightRequest) -> _Refusal | None:
        """Return what is known of the stuck model that a request names, or None if the model is not stuck.

        Raises:
            ModelStuckError: if another request is finding out whether it responds again.
        """
        name = request.name
        refusal = None if name is None else self._refusals.get(name)
        if name is not None and refusal is not None and refusal.probe not in (None, request):
            raise self._error(name, refusal.names)
        return refusal

    def answered(self, name: ModelName) -> None:
        """End the refusal of a model that responds."""
        if name in self._refusals:
            logger.warning("model %s responds again", name.short)
            self._end_refusal(self._refusals[name].names)

    def ended(self, request: InFlightRequest) -> None:
        """Let another request find out whether a stuck model responds again."""
        refusal = None if request.name is None else self._refusals.get(request.name)
        if refusal is not None and refusal.probe is request:
            refusal.probe = None

    async def act(self, model: ModelName, names: set[ModelName], waiting: list[InFlightRequest]) -> bool:
        """Unload a stuck model if that is allowed, or reject requests to it; return whether it was unloaded.

        Args:
            model: The model.
            names: All names of its runner.
            waiting: The requests that wait for it, the oldest first.
        """
        if self._refusals.keys().isdisjoint(names):
            self.counts["noticed"] += 1
            logger.warning(
                "model %s is stuck: it is loaded and has not begun to respond for %.0f s; %d requests wait",
                model.short,
                time.monotonic() - waiting[0].sent_at,
                len(waiting),
            )
        if self._heals and self._seconds_to_healing(names) <= 0:
            return await self.heal(model, names, waiting)
        self._refuse(model, names, waiting)
        return False

    async def heal(self, model: ModelName, names: set[ModelName], waiting: list[InFlightRequest]) -> bool:
        """Unload a stuck model and have the waiting requests sent again; return whether it was unloaded.

        The requests are withdrawn first, as Ollama does not unload a model that any request holds. See `act`.
        """
        started_at = time.monotonic()
        verdict: Verdict = asyncio.get_running_loop().create_future()
        self._healings |= dict.fromkeys(names, verdict)
        self._healed_at |= dict.fromkeys(names, started_at)
        self._report(model, "reloading")
        refusal: ModelStuckError | None = self._error(model, names)
        for request in waiting:
            request.interrupt(verdict)
        try:
            await self._loaded.unload(model, names, seconds=UNLOAD_SECONDS)
            refusal = None
        except OllamaError as error:
            self.counts["unload_failed"] += 1
            logger.warning("model %s could not be unloaded: %s", model.short, error.log_message)
            self._refuse(model, names, [])
            return False
        finally:
            for name in names:
                self._healings.pop(name, None)
            verdict.set_result(refusal)
        self.counts["reloaded"] += 1
        seconds = time.monotonic() - started_at
        logger.warning(
            "model %s was unloaded in %.1f s; %d requests are sent again", model.short, seconds, len(waiting)
        )
        self._end_refusal(names)
        self._report(model, "reloaded")
        return True

    def unloaded_elsewhere(self, model: ModelName, names: set[ModelName]) -> None:
        """End the refusal of a model that is no longer loaded."""
        logger.warning("model %s was unloaded by Ollama or another client", model.short)
        self._end_refusal(names)

    def _refuse(self, model: ModelName, names: set[ModelName], waiting: list[InFlightRequest]) -> None:
        """Reject the waiting requests, and from now on all but one at a time."""
        self._refusals |= dict.fromkeys(names, self._refusals.get(model) or _Refusal(model, names))
        verdict: Verdict = asyncio.get_running_loop().create_future()
        verdict.set_result(self._error(model, names))
        for request in waiting:
            request.interrupt(verdict)
        self._report(model, "stuck")

    def _end_refusal(self, names: set[ModelName]) -> None:
        for name in names:
            self._refusals.pop(name, None)
            report = self.reports.get(name)
            if report is not None and report.reloads:
                report.state = "reloaded"
            else:
                self.reports.pop(name, None)

    def _seconds_to_healing(self, names: set[ModelName]) -> float:
        healed_at = max(self._healed_at.get(name, -float("inf")) for name in names)
        return healed_at + HEAL_INTERVAL_SECONDS - time.monotonic()

    def _error(self, model: ModelName, names: set[ModelName]) -> ModelStuckError:
        seconds = self._seconds_to_healing(names) + HEALED_AFTER_SECONDS
        detail = f"The model {model.short!r} hangs: it is loaded and does not respond."
        return ModelStuckError(detail, retry_after_seconds=max(MIN_RETRY_SECONDS, seconds))

    def _report(self, model: ModelName, state: State) -> None:
        report = self.reports.get(model)
        if report is None:
            report = self.reports[model] = StuckReport(model.short, state, noticed_at=time.time())
        elif state == "reloading":
            report.noticed_at = time.time()
        report.state = state
        if state == "reloaded":
            report.reloads += 1
            report.reloaded_at = time.time()

"""Models that hang: noticed by their silence, and cured by unloading them.

A cancel in mid-stream can cost a model its only slot: the part of Ollama that writes the stream has gone, and the part
that makes it waits for ever to hand over a chunk. Every later request to the model waits, under any of its names, while
everything else answers. See docs/ollama-versions.md.
"""

import asyncio
import logging
import time
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from services.ollama.errors import OllamaError
from services.ollama.events import Done
from services.ollama.types.model_names import ModelName
from services.stuck_models.cure import StuckModelCure
from services.stuck_models.in_flight import InFlightRequest
from services.stuck_models.loaded_models import LoadedModels

logger = logging.getLogger(__name__)

PROMPT_TOKENS_PER_SECOND = 20.0  # of a slow machine, until Ollama has told how fast this one is
SHORT_PROMPT_TOKENS = 64  # are read in no time, and do not tell how fast a machine is
MAX_SUSPICIONS = 256
MAX_TICK_SECONDS = 1.0
OWN_SHARE = 0.25
"""A request has waited so much of the time itself; the rest may have been waited by those before it."""
OVERLAP_SECONDS = 0.25
"""A request sent so soon after another one keeps the model as busy as one sent before the other had ended."""


@dataclass(slots=True)
class _Suspicion:
    """A model that we have cut off since it last answered; times of the monotonic clock."""

    since: float
    loaded_until: float = -float("inf")
    """When it was last known to be loaded."""
    silence: float = 0.0
    """Seconds for which requests waited in vain that have been given up."""


class StuckModels:
    """Watches the requests in flight, and has a model cured that is stuck."""

    def __init__(self, loaded: LoadedModels, *, stuck_after_seconds: float, heals: bool) -> None:
        self._loaded = loaded
        self._stuck_after = stuck_after_seconds
        self._in_flight: dict[InFlightRequest, None] = {}  # oldest first
        self._suspicions: dict[ModelName, _Suspicion] = {}
        self._answered_at: dict[ModelName, float] = {}
        self._prompt_rates: dict[ModelName, float] = {}
        self._monitor: asyncio.Task[None] | None = None
        self.cure = StuckModelCure(loaded, heals=heals)

    async def close(self) -> None:
        """Stop watching; requests that wait for a healing are refused."""
        if self._monitor is not None:
            self._monitor.cancel()
            await asyncio.gather(self._monitor, return_exceptions=True)

    def request(
        self, path: str, model: str | None, body: dict[str, Any] | bytes, *, is_whole: bool | None = None
    ) -> InFlightRequest:
        """Return a request to be sent; see `InFlightRequest`."""
        request = InFlightRequest(self, path, model, body, is_whole=is_whole)
        self._in_flight[request] = None
        return request

    def check(self, model: str | None, body: dict[str, Any] | bytes = b"") -> None:
        """Refuse a request at once, before it waits for a place.

        Raises:
            ModelStuckError: if its model is stuck, and another request is finding out whether it works again.
        """
        if self.cure.refuses:
            self.cure.refusal_of(InFlightRequest(self, "", model, body, is_whole=True))

    def may_get_stuck(self, model: str) -> bool:
        """Whether it matters when a model begins to answer: it has open streams, or some model may hang already."""
        if self._suspicions:
            return True
        name = ModelName.parse(model)
        return any(request.may_stream(name) for request in self._in_flight)

    # What requests tell

    async def admit(self, request: InFlightRequest) -> None:
        """Hold a request back while its model is healed, and refuse it if the model is stuck."""
        await self.cure.admit(request)
        if self._suspicions:
            self._watch()

    def answered(self, request: InFlightRequest) -> None:
        """Note that a model has begun to answer, or is done."""
        if not (self._suspicions or self.cure.refuses) or (name := request.name) is None:
            return
        if self._suspicions:
            self._suspicions.pop(name, None)
            self._answered_at[name] = time.monotonic()
        if not self._suspicions:
            self._answered_at.clear()
        self.cure.answered(name)

    def ended(self, request: InFlightRequest, *, abandoned: bool) -> None:
        """Note the end of a request, and suspect its model if we cut it off."""
        self._in_flight.pop(request, None)
        if (
            not request.sent_at
            or not (abandoned or self._suspicions or self.cure.refuses)
            or (name := request.name) is None
        ):
            return
        self.cure.ended(request)
        now = time.monotonic()
        suspicion = self._suspicions.get(name)
        if suspicion is None:
            if not abandoned:
                return
            if len(self._suspicions) >= MAX_SUSPICIONS:
                self._suspicions.pop(next(iter(self._suspicions)))
            suspicion = self._suspicions[name] = _Suspicion(now)
        elif not request.has_begun:
            suspicion.silence = max(suspicion.silence, self._silence(request, [suspicion], now))
        if request.has_begun or request.sent_at <= suspicion.loaded_until + OVERLAP_SECONDS:
            suspicion.loaded_until = now
        suspicion.silence = 0 if request.has_begun else suspicion.silence
        suspicion.since = now
        if any(other.is_waiting for other in self._in_flight):
            self._watch()

    def learn(self, model: str, done: Done) -> None:
        """Note how fast a model has read its prompt."""
        tokens, milliseconds = done.usage.prompt_tokens, done.timings.prompt_ms
        if tokens and milliseconds and tokens >= SHORT_PROMPT_TOKENS:
            name, rate = ModelName.parse(model), tokens / milliseconds * 1000
            # the slowest, as prompts that Ollama still remembers in part seem faster than they are
            self._prompt_rates[name] = min(rate, self._prompt_rates.get(name, rate))

    # Noticing

    def _watch(self) -> None:
        if self._monitor is None:
            # no context: its log lines are not those of the request that happens to start it
            self._monitor = asyncio.get_running_loop().create_task(self._look_on(), context=Context())

    async def _look_on(self) -> None:
        """Look at the waiting requests while there are any, and a model is suspect."""
        tick_seconds = min(MAX_TICK_SECONDS, self._stuck_after / 20)
        try:
            while True:
                await asyncio.sleep(tick_seconds)
                if not self._suspicions or not any(request.is_waiting for request in self._in_flight):
                    return
                for request in list(self._in_flight):
                    if self._is_overdue(request):
                        try:
                            await self._examine(request)
                        except OllamaError as error:
                            logger.debug("whether a model is stuck could not be found out: %s", error.log_message)
        finally:
            self._monitor = None

    def _is_overdue(self, request: InFlightRequest) -> bool:
        now = time.monotonic()
        name = request.name
        if not request.is_waiting or request.is_whole or name is None or now < request.look_again_at:
            return False
        if self._is_at_work({name}) or now - request.sent_at < self._stuck_after * OWN_SHARE:
            return False
        suspicion = self._suspicions.get(name)
        return self._silence(request, [suspicion] if suspicion else [], now) >= self._stuck_after

    def _silence(self, request: InFlightRequest, suspicions: list[_Suspicion], now: float) -> float:
        """Return for how many seconds a model has been silent, beyond what reading the prompt may take."""
        since = max([request.sent_at, *(suspicion.since for suspicion in suspicions)])
        carried = max((suspicion.silence for suspicion in suspicions), default=0.0)
        return carried + now - since - self._reading_seconds(request)

    def _reading_seconds(self, request: InFlightRequest) -> float:
        rate = PROMPT_TOKENS_PER_SECOND
        if request.name is not None:
            rate = self._prompt_rates.get(request.name, rate)
        return max(0.0, request.prompt_tokens - SHORT_PROMPT_TOKENS) / rate

    def _is_at_work(self, names: set[ModelName]) -> bool:
        return any(request.is_at_work and request.name in names for request in self._in_flight)

    async def _examine(self, request: InFlightRequest) -> None:
        """Find out whether the model of an overdue request is stuck, and act if it is."""
        request.look_again_at = time.monotonic() + self._stuck_after * OWN_SHARE
        assert request.name is not None  # noqa: S101 - it would not be overdue
        before = await self._loaded.expiries()
        known = {other.name for other in self._in_flight if other.name is not None} | self._suspicions.keys()
        names = await self._loaded.sharing(request.name, known | before.keys())
        running = names & before.keys()
        if not running or not self._is_suspect(request, names):
            return
        await asyncio.sleep(min(MAX_TICK_SECONDS, self._stuck_after / 10))
        after = await self._loaded.expiries()
        if running.isdisjoint(after) or not self._is_suspect(request, names):
            return
        never_idle = all(before[name] != after.get(name) for name in running)
        loaded_until = max(self._suspicions[name].loaded_until for name in names if name in self._suspicions)
        if never_idle and request.sent_at > loaded_until + OVERLAP_SECONDS:
            return  # it may be loading still
        waiting = [other for other in self._in_flight if other.is_waiting and other.name in names]
        is_unloaded = await self.cure.act(request.name, names, waiting)
        for name in names & self._suspicions.keys():
            loaded_until = -float("inf") if is_unloaded else self._suspicions[name].loaded_until
            self._suspicions[name] = _Suspicion(time.monotonic(), loaded_until)

    def _is_suspect(self, request: InFlightRequest, names: set[ModelName]) -> bool:
        suspicions = [self._suspicions[name] for name in names if name in self._suspicions]
        if not suspicions or not request.is_waiting or self._is_at_work(names):
            return False
        answered_at = max((self._answered_at.get(name, 0.0) for name in names), default=0.0)
        if answered_at > max(suspicion.since for suspicion in suspicions):
            return False
        return self._silence(request, suspicions, time.monotonic()) >= self._stuck_after

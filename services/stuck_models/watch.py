"""Detection of models that hang after a disconnect.

A client that disconnects in mid-stream can cost a model its only slot: the goroutine of Ollama that produces the stream
waits for ever to pass on the next chunk. Every later request to the model waits, under any of its names, while other
endpoints respond. See docs/ollama-versions.md.
"""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from services.ollama.errors import OllamaError
from services.ollama.events import Done
from services.ollama.types.model_names import ModelName
from services.stuck_models.healing import StuckModelHealing
from services.stuck_models.in_flight import GENERATION_PATHS, InFlightRequest, fields_of
from services.stuck_models.loaded_models import LoadedModels

logger = logging.getLogger(__name__)

PROMPT_TOKENS_PER_SECOND = 20.0
"""Prompt processing rate of a slow machine, used until Ollama has reported the rate of the model."""
SHORT_PROMPT_TOKENS = 64
"""Prompts up to this length need no extra time, and their rate is not representative."""
BATCH_TOKENS = 512
"""Ollama's default `num_batch`: a cancelled prompt is processed until the end of its batch."""
MAX_SUSPICIONS = 256
MAX_TICK_SECONDS = 1.0
TICK_SHARE = 0.05
OWN_SHARE = 0.25
"""Share of OLLAMA_STUCK_AFTER that a request has waited itself; the rest may be the time of requests before it."""
LOOK_AGAIN_SHARE = 0.1
OVERLAP_SECONDS = 0.25
"""Requests this close to each other may reach Ollama in the other order."""


@dataclass(slots=True)
class _Suspicion:
    """A model to which a request was cut off since it last responded; times of the monotonic clock in seconds."""

    since: float
    loaded_until: float = -float("inf")
    """When it was last known to be loaded."""
    silence: float = 0.0
    """Seconds that requests waited in vain before they were given up."""
    busy_until: float = -float("inf")
    """Until when it may process the batch of a prompt that was cut off."""


class StuckModels:
    """Watches requests in flight, and has a model that is stuck unloaded.

    Behind a gateway nothing counts as stuck: a request may wait in its queue, and another server may answer the checks.
    """

    def __init__(self, loaded: LoadedModels, *, stuck_after_seconds: float, heals: bool) -> None:
        self._loaded = loaded
        self._stuck_after = stuck_after_seconds
        self._in_flight: dict[InFlightRequest, None] = {}  # oldest first
        self._streams = 0
        self._suspicions: dict[ModelName, _Suspicion] = {}
        self._answered_at: dict[ModelName, float] = {}
        self._prompt_rates: dict[ModelName, float] = {}
        self._monitor: asyncio.Task[None] | None = None
        self.healing = StuckModelHealing(loaded, heals=heals)

    async def close(self) -> None:
        """Stop watching; requests that wait for a model being unloaded are rejected."""
        if self._monitor is not None:
            self._monitor.cancel()
            await asyncio.gather(self._monitor, return_exceptions=True)

    def request(
        self, path: str, model: str | None, body: dict[str, Any] | bytes, *, is_whole: bool = False
    ) -> InFlightRequest:
        """Return a request to be sent; see `InFlightRequest`."""
        request = InFlightRequest(self, path, model, body, is_whole=is_whole)
        self._in_flight[request] = None
        self._streams += request.is_stream
        return request

    def check(self, model: str | None, body: dict[str, Any] | bytes = b"") -> None:
        """Reject a request to a stuck model before it waits for a slot.

        Raises:
            ModelStuckError: if its model is stuck, and another request is finding out whether it responds again.
        """
        if self.healing.refuses:
            self.healing.refusal_of(InFlightRequest(self, "", model, body, is_whole=True))

    @property
    def needs_streams(self) -> bool:
        """Whether complete responses should be streamed by Ollama, so that it is seen when they begin."""
        return (bool(self._suspicions) or self._streams > 0) and not self._loaded.is_behind_gateway

    # Events of requests

    @property
    def is_idle(self) -> bool:
        """Whether no model is suspected, stuck or being unloaded."""
        return not self._suspicions and self.healing.is_idle

    async def admit(self, request: InFlightRequest) -> None:
        """Hold a request back while its model is unloaded, and reject it if the model is stuck."""
        await self.healing.admit(request)
        if self._suspicions:
            self._watch()

    def answered(self, request: InFlightRequest) -> None:
        """End the suspicion and the refusal of a model that responds."""
        if self.is_idle or (name := request.name) is None:
            return
        if self._suspicions:
            self._suspicions.pop(name, None)
            self._answered_at[name] = time.monotonic()
        if not self._suspicions:
            self._answered_at.clear()
        self.healing.answered(name)

    def ended(self, request: InFlightRequest, *, abandoned: bool) -> None:
        """Forget a request, and suspect its model if the request was cut off."""
        self._in_flight.pop(request, None)
        self._streams -= request.is_stream
        if not abandoned and self.is_idle:
            return
        if not request.sent_at or (name := request.name) is None:
            return
        self.healing.ended(request)
        now = time.monotonic()
        suspicion = self._suspicions.get(name)
        if suspicion is None:
            if not abandoned:
                return
            if len(self._suspicions) >= MAX_SUSPICIONS:
                self._suspicions.pop(next(iter(self._suspicions)))
            suspicion = self._suspicions[name] = _Suspicion(now)
        elif not request.has_begun:
            suspicion.silence = max(suspicion.silence, self._silence(request, {name}, now))
        if request.has_begun or request.sent_at <= suspicion.loaded_until + OVERLAP_SECONDS:
            suspicion.loaded_until = now
        if request.has_begun:
            suspicion.silence = 0
        elif abandoned:
            suspicion.busy_until = now + self._processing_seconds(request, at_most=BATCH_TOKENS)
        suspicion.since = now
        if any(other.is_waiting for other in self._in_flight):
            self._watch()

    def learn(self, model: str, done: Done) -> None:
        """Record how fast a model has processed a prompt."""
        tokens, milliseconds = done.usage.prompt_tokens, done.timings.prompt_ms
        if tokens and milliseconds and tokens >= SHORT_PROMPT_TOKENS:
            name, rate = ModelName.parse(model), tokens / milliseconds * 1000
            # the slowest, as prompts that are cached in part seem faster than they are
            self._prompt_rates[name] = min(rate, self._prompt_rates.get(name, rate))

    # Detection

    def _watch(self) -> None:
        if self._monitor is None and not self._loaded.is_behind_gateway:
            # no context: its log lines are not those of the request that happens to start it
            self._monitor = asyncio.get_running_loop().create_task(self._look_on(), context=Context())

    async def _look_on(self) -> None:
        """Check waiting requests and stuck models until there is nothing left to check."""
        tick_seconds = min(MAX_TICK_SECONDS, self._stuck_after * TICK_SHARE)
        try:
            while True:
                await asyncio.sleep(tick_seconds)
                may_get_stuck = self._suspicions and any(request.is_waiting for request in self._in_flight)
                if not may_get_stuck and not self.healing.is_pending:
                    return
                try:
                    for request in list(self._in_flight):
                        if self._is_overdue(request):
                            await self._examine(request)
                    await self._heal_postponed()
                except OllamaError as error:
                    logger.debug("whether a model is stuck could not be determined: %s", error.log_message)
        finally:
            self._monitor = None

    async def _examine(self, request: InFlightRequest) -> None:
        """Find out whether the model of an overdue request is stuck, and have it unloaded if it is."""
        request.look_again_at = time.monotonic() + self._stuck_after * LOOK_AGAIN_SHARE
        assert request.name is not None  # noqa: S101 - it would not be overdue
        before = await self._loaded.expiries()
        known = {other.name for other in self._in_flight if other.name is not None} | self._suspicions.keys()
        names = await self._loaded.sharing(request.name, known | before.keys())
        running = names & before.keys()
        if not running or not self._is_suspect(request, names):
            return
        await asyncio.sleep(min(MAX_TICK_SECONDS, self._stuck_after * LOOK_AGAIN_SHARE))
        after = await self._loaded.expiries()
        if running.isdisjoint(after) or not self._is_suspect(request, names):
            return
        never_idle = all(before[name] != after.get(name) for name in running)
        loaded_until = max(self._suspicions[name].loaded_until for name in names if name in self._suspicions)
        if never_idle and request.sent_at > loaded_until + OVERLAP_SECONDS:
            return  # it may still be loading
        is_unloaded = await self.healing.act(request.name, names, list(self._waiting(names)))
        self._restart_suspicions(names, is_unloaded=is_unloaded)

    async def _heal_postponed(self) -> None:
        """Unload the stuck models that could not be unloaded before, but can be now."""
        for model, names in self.healing.due():
            if names.isdisjoint(await self._loaded.expiries()):
                self.healing.unloaded_elsewhere(model, names)
            elif not self._is_at_work(names):
                is_unloaded = await self.healing.heal(model, names, list(self._waiting(names)))
                self._restart_suspicions(names, is_unloaded=is_unloaded)

    def _restart_suspicions(self, names: set[ModelName], *, is_unloaded: bool) -> None:
        for name in names & self._suspicions.keys():
            loaded_until = -float("inf") if is_unloaded else self._suspicions[name].loaded_until
            self._suspicions[name] = _Suspicion(time.monotonic(), loaded_until)

    def _is_overdue(self, request: InFlightRequest) -> bool:
        now = time.monotonic()
        if not request.is_waiting or request.is_whole or now < request.look_again_at:
            return False
        name = request.name
        if name is None or self._is_at_work({name}) or now - request.sent_at < self._stuck_after * OWN_SHARE:
            return False
        return self._silence(request, {name}, now) >= self._stuck_after

    def _is_suspect(self, request: InFlightRequest, names: set[ModelName]) -> bool:
        suspicions = [self._suspicions[name] for name in names if name in self._suspicions]
        if not suspicions or not request.is_waiting or self._is_at_work(names):
            return False
        answered_at = max((self._answered_at.get(name, 0.0) for name in names), default=0.0)
        if answered_at > max(suspicion.since for suspicion in suspicions):
            return False
        return self._silence(request, names, time.monotonic()) >= self._stuck_after

    def _silence(self, request: InFlightRequest, names: set[ModelName], now: float) -> float:
        """Return for how many seconds a model has been silent beyond the time that prompts may take."""
        suspicions = [self._suspicions[name] for name in names if name in self._suspicions]
        since = max([request.sent_at, *(max(one.since, one.busy_until) for one in suspicions)])
        carried = max((suspicion.silence for suspicion in suspicions), default=0.0)
        # Ollama serves requests in their order, so one before this may be the one that takes long
        ahead = [other for other in self._waiting(names) if other.sent_at <= request.sent_at + OVERLAP_SECONDS]
        return carried + now - since - max(map(self._processing_seconds, [request, *ahead]))

    def _processing_seconds(self, request: InFlightRequest, at_most: float = float("inf")) -> float:
        """Return how long a model may take for the prompt of a request, or for a part of it in tokens."""
        rate = PROMPT_TOKENS_PER_SECOND
        if request.name is not None:
            rate = self._prompt_rates.get(request.name, rate)
        return min(max(0.0, request.prompt_tokens - SHORT_PROMPT_TOKENS), at_most) / rate

    def _is_at_work(self, names: set[ModelName]) -> bool:
        return any(request.is_at_work and request.name in names for request in self._in_flight)

    def _waiting(self, names: set[ModelName]) -> Iterator[InFlightRequest]:
        return (request for request in self._in_flight if request.is_waiting and request.name in names)


def is_whole(path: str, body: bytes) -> bool:
    """Return whether a request of Ollama's own API asks for a complete generated response."""
    return path in GENERATION_PATHS and b"false" in body and fields_of(body).get("stream") is False

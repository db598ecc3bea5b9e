import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from services.ollama.errors import OllamaError
from services.ollama.model_list import parse_models
from services.ollama.types.model_names import ModelName
from services.single_flight import SingleFlight

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_MISSES = 3.0
SECONDS_AFTER_FAILURE = 3.0


@dataclass(frozen=True, slots=True)
class ModelList:
    """The installed models and how old that knowledge is."""

    models: list[dict[str, Any]]
    cached: bool
    stale: bool
    age_seconds: float


class _Snapshot(NamedTuple):
    models: list[dict[str, Any]]
    installed: dict[ModelName, str]
    taken_at: float


class ModelCatalog:
    """What Ollama has installed, asked for seldom and by one caller at a time; a failure never empties it.

    See https://docs.ollama.com/api/tags.
    """

    def __init__(self, fetch: Callable[[], Awaitable[Any]], *, ttl_seconds: float) -> None:
        self._fetch = fetch
        self._ttl_seconds = ttl_seconds
        self._snapshot: _Snapshot | None = None
        self._invalidated = False
        self._last_miss = -float("inf")
        self._failure: OllamaError | None = None
        self._failed_at = -float("inf")
        self._has_skipped = False
        self.refresh = SingleFlight(self._refresh)

    @property
    def names(self) -> list[str]:
        """The short names of the last list."""
        return [model["name"] for model in self._snapshot.models] if self._snapshot else []

    @property
    def has_capabilities(self) -> bool | None:
        """Whether the last list tells what its models can do, as Ollama's does since 0.30; None without a model."""
        models = self._snapshot.models if self._snapshot else []
        if not models:
            return None
        return any("capabilities" in model or "context_length" in (model["details"] or ()) for model in models)

    async def list(self, *, force_refresh: bool = False) -> ModelList:
        """Return the models, asking Ollama when the last list is too old or the caller insists.

        Raises:
            OllamaError: if Ollama gives no list, and there is no older one or the caller insists.
        """
        snapshot = self._snapshot
        if snapshot is not None and self._is_fresh() and not force_refresh:
            return _list(snapshot, cached=True)
        try:
            return _list(await self.refresh(), cached=False)
        except OllamaError:
            if snapshot is None or force_refresh:
                raise
            return _list(snapshot, cached=True, stale=True)

    async def find(self, name: str) -> str | None:
        """Return the exact name of an installed model, or None if it is not installed.

        A name that is not in the list is looked for once more in a new one, though not at every such request.

        Raises:
            OllamaError: if the list could not be read.
            ValueError: if it is no model name.
        """
        wanted = ModelName.parse(name)
        installed = await self._installed()
        if wanted not in installed and not wanted.is_cloud:
            now = time.monotonic()
            if now - self._last_miss >= SECONDS_BETWEEN_MISSES:
                self._last_miss = now
                installed = (await self.refresh()).installed
            elif (failure := self._recent_failure()) is not None:
                raise failure
        return installed.get(wanted, name if wanted.is_cloud else None)

    def knows(self, name: str) -> bool:
        """Tell from the last list alone whether a model is installed."""
        return self._snapshot is not None and ModelName.parse(name) in self._snapshot.installed

    def invalidate(self) -> None:
        """Note that the list was found wrong; the next caller refreshes it."""
        self._invalidated = True

    async def _installed(self) -> dict[ModelName, str]:
        snapshot = self._snapshot
        if snapshot is not None and self._is_fresh():
            return snapshot.installed
        try:
            if (failure := self._recent_failure()) is not None:
                raise failure
            return (await self.refresh()).installed
        except OllamaError:
            if snapshot is None:
                raise
            return snapshot.installed

    def _recent_failure(self) -> OllamaError | None:
        """Return why there is no new list, if that was found out a moment ago: not every request shall wait for it."""
        is_recent = time.monotonic() - self._failed_at < SECONDS_AFTER_FAILURE
        return self._failure if is_recent else None

    def _is_fresh(self) -> bool:
        snapshot = self._snapshot
        return (
            snapshot is not None and not self._invalidated and time.monotonic() - snapshot.taken_at < self._ttl_seconds
        )

    async def _refresh(self) -> _Snapshot:
        try:
            models, skipped = parse_models(await self._fetch())
        except OllamaError as error:
            level = logging.WARNING if self._failure is None else logging.DEBUG
            logger.log(level, "the model list could not be read: %s", error.log_message)
            self._failure, self._failed_at = error, time.monotonic()
            raise
        self._report_skipped(skipped)
        installed: dict[ModelName, str] = {}
        for name in models:
            installed.setdefault(ModelName.parse(name), name)
        self._snapshot = _Snapshot(list(models.values()), installed, time.monotonic())
        self._invalidated = False
        self._failure = None
        return self._snapshot

    def _report_skipped(self, count: int) -> None:
        """Warn of entries without a usable name, once for as long as there are any."""
        if count:
            level = logging.DEBUG if self._has_skipped else logging.WARNING
            logger.log(level, "the model list has %d entries without a usable name; they are left out", count)
        self._has_skipped = count > 0


def _list(snapshot: _Snapshot, *, cached: bool, stale: bool = False) -> ModelList:
    return ModelList(snapshot.models, cached, stale, round(time.monotonic() - snapshot.taken_at, 3))

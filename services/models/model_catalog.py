import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from services.ollama.errors import OllamaError
from services.ollama.parsing.model_list import parse_models
from services.ollama.types.model_names import ModelName, short_name
from services.single_flight import SingleFlight

logger = logging.getLogger(__name__)

MISS_REFRESH_INTERVAL_SECONDS = 3.0
FAILURE_CACHE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class ModelList:
    """The installed models and the age of the list."""

    models: list[dict[str, Any]]
    cached: bool
    stale: bool
    age_seconds: float


class _Snapshot(NamedTuple):
    models: list[dict[str, Any]]
    by_exact_name: dict[str, dict[str, Any]]
    installed: dict[ModelName, str]
    by_usual_name: dict[str, str]
    """Maps exact and short names to exact names: most requests use these, and parsing a name takes 1 µs."""
    taken_at: float


class ModelCatalog:
    """Cached list of installed models: one refresh at a time, and a failed refresh keeps the old list.

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
    def exact_names(self) -> list[str]:
        """The exact names of the last list."""
        return list(self._snapshot.by_exact_name) if self._snapshot else []

    @property
    def has_capabilities(self) -> bool | None:
        """Whether the list includes capabilities, as it does since Ollama 0.30; None if the list is empty."""
        models = self._snapshot.models if self._snapshot else []
        if not models:
            return None
        return any("capabilities" in model or "context_length" in (model["details"] or ()) for model in models)

    async def list(self, *, force_refresh: bool = False) -> ModelList:
        """Return the models; refresh the list if it is older than the TTL or if `force_refresh`.

        Raises:
            OllamaError: if the refresh fails, and there is no older list or `force_refresh` is set.
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

        An unknown name triggers a refresh, at most once every few seconds.

        Raises:
            OllamaError: if the list could not be read.
            ValueError: if it is not a valid model name.
        """
        if self._is_fresh() and (exact := self._usual(name)) is not None:
            return exact
        wanted = ModelName.parse(name)
        installed = await self._installed()
        if wanted not in installed and not wanted.is_cloud:
            now = time.monotonic()
            if now - self._last_miss >= MISS_REFRESH_INTERVAL_SECONDS:
                self._last_miss = now
                installed = (await self.refresh()).installed
            elif (failure := self._recent_failure()) is not None:
                raise failure
        return installed.get(wanted, name if wanted.is_cloud else None)

    @property
    def age_seconds(self) -> float | None:
        """The age of the cached list; None if there is none."""
        return None if self._snapshot is None else time.monotonic() - self._snapshot.taken_at

    def installed_name(self, name: str | None) -> str | None:
        """Return the short name of a model in the cached list, and None for any other name; asks nobody."""
        exact = self.cached_exact_name(name)
        return None if exact is None else short_name(exact)

    def cached_exact_name(self, name: str | None) -> str | None:
        """Return the exact name of a model in the cached list, and None for any other name; asks nobody."""
        if name is None or self._snapshot is None:
            return None
        if (exact := self._usual(name)) is not None:
            return exact
        try:
            return self._snapshot.installed.get(ModelName.parse(name))
        except ValueError:
            return None

    def knows(self, name: str) -> bool:
        """Return whether a model is in the cached list, without asking Ollama."""
        return self._snapshot is not None and ModelName.parse(name) in self._snapshot.installed

    def item(self, exact_name: str) -> dict[str, Any] | None:
        """Return a model of the cached list, without asking Ollama."""
        return self._snapshot.by_exact_name.get(exact_name) if self._snapshot else None

    def invalidate(self) -> None:
        """Mark the list as outdated; the next caller refreshes it."""
        self._invalidated = True

    def _usual(self, name: str) -> str | None:
        return self._snapshot.by_usual_name.get(name) if self._snapshot else None

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
        """Return the error of a refresh that failed within the last seconds, so that not every request retries it."""
        is_recent = time.monotonic() - self._failed_at < FAILURE_CACHE_SECONDS
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
        usual = {short_name(name): name for name in installed.values()} | {name: name for name in installed.values()}
        self._snapshot = _Snapshot(list(models.values()), models, installed, usual, time.monotonic())
        self._invalidated = False
        self._failure = None
        return self._snapshot

    def _report_skipped(self, count: int) -> None:
        """Warn about entries without a usable name, once until a list has none."""
        if count:
            level = logging.DEBUG if self._has_skipped else logging.WARNING
            logger.log(level, "the model list has %d entries without a usable name; they are left out", count)
        self._has_skipped = count > 0


def _list(snapshot: _Snapshot, *, cached: bool, stale: bool = False) -> ModelList:
    return ModelList(snapshot.models, cached, stale, round(time.monotonic() - snapshot.taken_at, 3))

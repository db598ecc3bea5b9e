"""Cached properties of single models, from the model list and `/api/show`; no model is loaded."""

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

from services.models.model_catalog import ModelCatalog
from services.ollama.errors import OllamaError
from services.ollama.parsing.model_facts import LoadedModel, ModelFacts, find_loaded, parse_show
from services.ollama.parsing.model_list import whole_number
from services.ollama.types.model_names import ModelName, short_name
from services.single_flight import SingleFlight

logger = logging.getLogger(__name__)

FAILURE_CACHE_SECONDS = 30.0
MAX_ASKED = 20


class _Shown(NamedTuple):
    digest: str | None
    facts: ModelFacts


class ModelFactsCache:
    """Properties of the models in a catalog; `show` and `ps` call `/api/show` and `/api/ps`."""

    def __init__(
        self,
        catalog: ModelCatalog,
        show: Callable[[str], Awaitable[Any]],
        ps: Callable[[], Awaitable[Any]],
    ) -> None:
        self._catalog = catalog
        self._show = show
        self._ps = SingleFlight(partial(_awaited, ps))
        self._shown: dict[str, _Shown] = {}
        self._showing: dict[str, SingleFlight[ModelFacts]] = {}
        self._failed_at: dict[str, float] = {}

    def known_capabilities(self, exact_name: str) -> list[str] | None:
        """Return a model's capabilities without asking Ollama; None if they are not known."""
        item = self._catalog.item(exact_name)
        if item is None:
            return None
        given: list[str] | None = item.get("capabilities")
        if given:
            return given
        return self._shown[exact_name].facts.capabilities if self._is_shown(exact_name, item) else None

    def known_context(self, exact_name: str) -> int | None:
        """Return the context length that a model was trained for, without asking Ollama; None if it is not known."""
        item = self._catalog.item(exact_name)
        if item is not None and self._is_shown(exact_name, item):
            return self._shown[exact_name].facts.context_length
        return whole_number(((item or {}).get("details") or {}).get("context_length"))

    async def capabilities(self, exact_name: str) -> list[str] | None:
        """Return a model's capabilities; if the list lacks them, `/api/show` is asked once. None if not reported."""
        known = self.known_capabilities(exact_name)
        item = self._catalog.item(exact_name)
        if known is not None or item is None or self._is_shown(exact_name, item):
            return known
        if time.monotonic() - self._failed_at.get(exact_name, -float("inf")) < FAILURE_CACHE_SECONDS:
            return None
        try:
            return (await self.facts(exact_name)).capabilities
        except OllamaError as error:
            logger.debug("the capabilities of %s could not be read: %s", exact_name, error.log_message)
            self._failed_at[exact_name] = time.monotonic()
            return None

    async def having(self, capability: str, preferred: tuple[str, ...]) -> str | None:
        """Return the short name of an installed model that has a capability, preferred ones first.

        If the list has no capabilities, `/api/show` is asked for some of the models; its responses are cached.
        """
        wanted = [ModelName.parse(name) for name in preferred]
        ranked = sorted(self._catalog.exact_names, key=lambda name: _place(ModelName.parse(name), wanted))
        for name in ranked:
            if capability in (self.known_capabilities(name) or ()):
                return short_name(name)
        unknown = [name for name in ranked if self.known_capabilities(name) is None]
        for name in unknown[:MAX_ASKED]:
            if capability in (await self.capabilities(name) or ()):
                return short_name(name)
        return None

    async def facts(self, exact_name: str) -> ModelFacts:
        """Return the properties from `/api/show`, asked once until the model's digest changes.

        Raises:
            OllamaError: if they cannot be read.
        """
        item = self._catalog.item(exact_name) or {"digest": None}
        if self._is_shown(exact_name, item):
            return self._shown[exact_name].facts
        flight = self._showing.setdefault(exact_name, SingleFlight(partial(self._ask, exact_name)))
        return await flight()

    async def loaded(self, exact_name: str) -> LoadedModel | None:
        """Return the loaded state of a model, None if it is not loaded.

        Raises:
            OllamaError: if that cannot be read.
        """
        item = self._catalog.item(exact_name) or {}
        return find_loaded(await self._ps(), exact_name, item.get("digest"))

    async def cancel(self) -> None:
        """Cancel shared calls that are still running."""
        for flight in (self._ps, *self._showing.values()):
            await flight.cancel()

    def _is_shown(self, exact_name: str, item: dict[str, Any]) -> bool:
        shown = self._shown.get(exact_name)
        return shown is not None and shown.digest == item["digest"]

    async def _ask(self, exact_name: str) -> ModelFacts:
        try:
            facts = parse_show(await self._show(exact_name))
        finally:
            self._showing.pop(exact_name, None)
        item = self._catalog.item(exact_name)
        if item is not None:
            installed = set(self._catalog.exact_names)
            self._shown = {name: shown for name, shown in self._shown.items() if name in installed}
            self._shown[exact_name] = _Shown(item["digest"], facts)
        return facts


def _place(name: ModelName, wanted: list[ModelName]) -> int:
    return wanted.index(name) if name in wanted else len(wanted)


async def _awaited(call: Callable[[], Awaitable[Any]]) -> Any:
    return await call()

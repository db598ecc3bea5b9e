"""Cached context lengths of loaded models, from `/api/ps`."""

import asyncio
import time
from typing import NamedTuple

from services.models.model_facts import ModelFactsCache
from services.ollama.errors import OllamaError

CACHE_SECONDS = 10.0
NOT_LOADED_CACHE_SECONDS = 1.0
TIMEOUT_SECONDS = 1.0  # a complete response waits for it
MAX_ENTRIES = 256


class _Entry(NamedTuple):
    length: int | None
    expires_at: float


class ContextLengths:
    """Context lengths in tokens, by model and requested `num_ctx`: another `num_ctx` reloads the model."""

    def __init__(self, facts: ModelFactsCache) -> None:
        self._facts = facts
        self._entries: dict[tuple[str, int | None], _Entry] = {}

    def last_known(self, exact_name: str, num_ctx: int | None) -> int | None:
        """Return the last length, without asking Ollama."""
        entry = self._entries.get((exact_name, num_ctx))
        return entry.length if entry is not None else None

    def is_fresh(self, exact_name: str, num_ctx: int | None) -> bool:
        """Return whether `get` returns without asking Ollama."""
        entry = self._entries.get((exact_name, num_ctx))
        return entry is not None and time.monotonic() < entry.expires_at

    async def get(self, exact_name: str, num_ctx: int | None) -> int | None:
        """Return the length, or None if the model is not loaded or Ollama does not report it."""
        entry = self._entries.get((exact_name, num_ctx))
        if entry is not None and time.monotonic() < entry.expires_at:
            return entry.length
        length = await self._ask(exact_name)
        if len(self._entries) >= MAX_ENTRIES:
            self._entries.clear()
        seconds = CACHE_SECONDS if length else NOT_LOADED_CACHE_SECONDS
        self._entries[exact_name, num_ctx] = _Entry(length, time.monotonic() + seconds)
        return length

    async def _ask(self, exact_name: str) -> int | None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                loaded = await self._facts.loaded(exact_name)
        except (OllamaError, TimeoutError):
            return None
        return loaded.context_length if loaded is not None else None

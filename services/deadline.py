import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.errors import OllamaTimeoutError


@asynccontextmanager
async def deadline(seconds: float, setting: str, waiting_for: str, *, share: float = 1) -> AsyncIterator[None]:
    """Limit what runs inside to a share of a setting.

    Raises:
        OllamaTimeoutError: naming the setting, when the time is over.
    """
    try:
        async with asyncio.timeout(seconds * share):
            yield
    except TimeoutError as error:
        raise too_late(seconds, setting, waiting_for) from error


def too_late(seconds: float, setting: str, waiting_for: str) -> OllamaTimeoutError:
    """Return the error for a deadline that passed."""
    return OllamaTimeoutError(f"Ollama took longer than {seconds:g} s for {waiting_for} ({setting}).")

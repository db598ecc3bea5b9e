import asyncio
from types import TracebackType

from services.errors import OllamaTimeoutError


class Deadline:
    """Limits what runs inside `async with` to a share of a setting.

    Raises:
        OllamaTimeoutError: naming the setting, when the time is over.
    """

    def __init__(self, seconds: float, setting: str, waiting_for: str, *, share: float = 1) -> None:
        self._limit = asyncio.timeout(seconds * share)
        self._meaning = (seconds, setting, waiting_for)

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._limit.__aexit__(kind, error, traceback)
        except TimeoutError as timeout:
            raise too_late(*self._meaning) from timeout


def too_late(seconds: float, setting: str, waiting_for: str) -> OllamaTimeoutError:
    """Return the error for a deadline that passed."""
    return OllamaTimeoutError(f"Ollama took longer than {seconds:g} s for {waiting_for} ({setting}).")

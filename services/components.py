import asyncio
from collections.abc import Awaitable, Callable

Check = Callable[[], Awaitable[bool]]


class ComponentChecks:
    """The components that `/health` reports beside Ollama, such as a vector database; each registers itself."""

    def __init__(self, *, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._checks: dict[str, Check] = {}

    def register(self, name: str, check: Check) -> None:
        """Have a component checked at each probe; it is up if `check` returns true in time."""
        self._checks[name] = check

    async def run(self) -> dict[str, bool]:
        """Check all at once, and tell for each whether it is up."""
        results = await asyncio.gather(*map(self._is_up, self._checks.values()))
        return dict(zip(self._checks, results, strict=True))

    async def _is_up(self, check: Check) -> bool:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await check()
        except Exception:  # noqa: BLE001 - whatever a component raises, it is down
            return False

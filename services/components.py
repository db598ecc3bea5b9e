import asyncio
from collections.abc import Awaitable, Callable

Check = Callable[[], Awaitable[bool]]


class ComponentChecks:
    """Health checks of components other than Ollama, such as a vector database; reported by `/health`."""

    def __init__(self, *, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._checks: dict[str, Check] = {}

    def register(self, name: str, check: Check) -> None:
        """Register a check; the component is up if `check` returns true within the timeout."""
        self._checks[name] = check

    async def run(self) -> dict[str, bool]:
        """Run all checks concurrently; return whether each component is up."""
        results = await asyncio.gather(*map(self._is_up, self._checks.values()))
        return dict(zip(self._checks, results, strict=True))

    async def _is_up(self, check: Check) -> bool:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await check()
        except Exception:  # noqa: BLE001 - a check that raises anything means down
            return False

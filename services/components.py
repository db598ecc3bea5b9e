"""Health checks of components other than Ollama, such as a vector database or agents."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from config import Settings
from services.ollama.client import HEALTH_SHARE
from services.per_loop import PerLoop

logger = logging.getLogger(__name__)

Check = Callable[[], Awaitable[bool]]

OK = 200
MAX_SHOWN_LENGTH = 200
WEAVIATE_READY_PATH = "/v1/.well-known/ready"  # exactly: a slash at its end, or a query, gives 501


class NotReadyError(Exception):
    """A component says that it is not ready; the message says how."""


@dataclass(frozen=True, slots=True)
class ComponentState:
    """Whether a component is up, and the word that `/health` has for it."""

    is_up: bool
    word: str


class ComponentChecks:
    """The components that `/health` reports beside Ollama; `timeout_seconds` is the limit of each check."""

    def __init__(self, *, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._components: dict[str, _Component] = {}
        self._sessions = PerLoop(_open_session)

    def register(
        self, name: str, check: Check, *, up: str = "up", down: str = "down", timeout_seconds: float | None = None
    ) -> None:
        """Register a component under the name and the two words that `/health` shows, in place of one of this name.

        `check` is a coroutine function that must not block the event loop. The component is up if it returns True;
        it is down if it returns anything else, raises, or takes longer than `timeout_seconds` (at most the limit of
        all checks), after which it is cancelled.

        Raises:
            ValueError: if the name is Ollama's, or the words do not differ.
        """
        if name == "ollama" or up == down:
            msg = f"no component can be called {name!r} and be {up!r} or {down!r}"
            raise ValueError(msg)
        seconds = min(timeout_seconds or self._timeout_seconds, self._timeout_seconds)
        self._components[name] = _Component(name, check, up, down, seconds)

    def register_url(
        self, name: str, url: str, *, up: str = "up", down: str = "down", timeout_seconds: float | None = None
    ) -> None:
        """Register a component that is up while a GET of this URL gives 200; redirects are not followed."""

        async def check() -> bool:
            session = await self._sessions.get()
            async with session.get(url, allow_redirects=False) as response:
                if response.status != OK:
                    raise NotReadyError(f"status {response.status}")
            return True

        self.register(name, check, up=up, down=down, timeout_seconds=timeout_seconds)

    async def run(self) -> dict[str, ComponentState]:
        """Run all checks concurrently; simultaneous callers share one check of a component."""
        components = list(self._components.values())
        states = await asyncio.gather(*(component.state() for component in components))
        return {component.name: state for component, state in zip(components, states, strict=True)}

    async def close(self) -> None:
        """Close the connections of this event loop."""
        await self._sessions.close()


def component_checks(settings: Settings) -> ComponentChecks:
    """Return the checks of the components that the settings name."""
    checks = ComponentChecks(timeout_seconds=settings.ollama_health_timeout * HEALTH_SHARE)
    if settings.weaviate_url:
        url = settings.weaviate_url + WEAVIATE_READY_PATH
        checks.register_url("weaviate", url, timeout_seconds=settings.weaviate_health_timeout)
    if settings.crewai_health_url:
        checks.register_url("crewai_agents", settings.crewai_health_url, up="initialized", down="not_initialized")
    return checks


@asynccontextmanager
async def _open_session() -> AsyncIterator[aiohttp.ClientSession]:
    # One session, as its connector looks up a name once at a time: a resolver that hangs takes one thread, not one for
    # each probe. New connections, as a server that hangs may still hold old ones.
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


class _Component:
    """A component, its check if that is running, and what the log knows of it."""

    def __init__(self, name: str, check: Check, up: str, down: str, timeout_seconds: float) -> None:
        self.name = name
        self._check = check
        self._words = {True: up, False: down}
        self._timeout_seconds = timeout_seconds
        self._task: asyncio.Task[object] | None = None
        self._is_logged_down = False

    async def state(self) -> ComponentState:
        """Join the running check or start one, and wait for it no longer than the limit."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(_retrieve)
        task = self._task
        await asyncio.wait({task}, timeout=self._timeout_seconds)
        problem = self._problem(task)
        task.cancel()
        self._log(problem)
        return ComponentState(problem is None, self._words[problem is None])

    async def _run(self) -> object:
        return await self._check()

    def _problem(self, task: asyncio.Task[object]) -> str | None:
        if not task.done() or task.cancelled():
            return f"no answer within {self._timeout_seconds:g} s"
        error = task.exception()
        if error is not None:
            return f"{type(error).__name__}: {error}"
        answer = task.result()
        return None if answer is True else f"its check returned {answer!r}"

    def _log(self, problem: str | None) -> None:
        if problem is not None:
            level = logging.DEBUG if self._is_logged_down else logging.WARNING
            logger.log(level, "the component %s is down: %s", self.name, " ".join(problem.split())[:MAX_SHOWN_LENGTH])
        elif self._is_logged_down:
            logger.info("the component %s is up again", self.name)
        self._is_logged_down = problem is not None


def _retrieve(task: asyncio.Task[object]) -> None:
    """Mark an exception as seen, also where every caller has left."""
    if not task.cancelled():
        task.exception()

"""Health checks of components other than Ollama, such as a vector database or agents."""

import asyncio
import logging
import reprlib
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from config import Settings
from services.ollama.client import HEALTH_SHARE
from services.per_loop import PerLoop
from services.single_flight import SingleFlight

logger = logging.getLogger(__name__)

Check = Callable[[], Awaitable[bool]]

OK = 200
MAX_SHOWN_LENGTH = 200
WEAVIATE_READY_PATH = "/v1/.well-known/ready"  # exactly: a slash at its end, or a query, gives 501


class NotReadyError(Exception):
    """A component responded that it is not ready."""


@dataclass(frozen=True, slots=True)
class ComponentState:
    """Whether a component is up, and the word for that in `/health`."""

    is_up: bool
    word: str


class ComponentChecks:
    """The components that `/health` reports in addition to Ollama; `timeout_seconds` is the limit of each check."""

    def __init__(self, *, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._components: dict[str, _Component] = {}
        self._sessions = PerLoop(_open_session)

    def register(
        self, name: str, check: Check, *, up: str = "up", down: str = "down", timeout_seconds: float | None = None
    ) -> None:
        """Register a component, with the words for its two states; replaces a component of the same name.

        `check` is a coroutine function that does not block the event loop. The component is up if it returns True. It
        is down if it returns anything else, raises, or takes longer than `timeout_seconds` (at most the limit of all
        checks); then it is cancelled.

        Raises:
            ValueError: if the name is `ollama`, or both words are the same.
        """
        if name == "ollama" or up == down:
            msg = f"no component can be called {name!r} and be {up!r} or {down!r}"
            raise ValueError(msg)
        seconds = min(timeout_seconds or self._timeout_seconds, self._timeout_seconds)
        self._components[name] = _Component(name, check, up, down, seconds)

    def register_url(
        self, name: str, url: str, *, up: str = "up", down: str = "down", timeout_seconds: float | None = None
    ) -> None:
        """Register a component that is up if a GET request to this URL gets 200; redirects are not followed."""

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


class _Resolver(AbstractResolver):
    """Looks names up in Python's threads.

    uvloop has two threads for all lookups: the names of two components that hang would keep Ollama's from being found.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host."""
        found = await asyncio.to_thread(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(hostname=host, host=str(address[0]), port=port, family=family, proto=proto, flags=numeric)
            for family, _, proto, _, address in found
        ]

    async def close(self) -> None:
        """Do nothing: it keeps nothing open."""


@asynccontextmanager
async def _open_session() -> AsyncIterator[aiohttp.ClientSession]:
    # A session is kept because its connector resolves a name only once at a time: a resolver that hangs occupies one
    # thread, not one per probe. Connections are not kept: a server that accepts no new ones is not ready.
    connector = aiohttp.TCPConnector(force_close=True, resolver=_Resolver())
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


class _Component:
    """A component of `/health`, its running check per event loop, and whether it was logged as down."""

    def __init__(self, name: str, check: Check, up: str, down: str, timeout_seconds: float) -> None:
        self.name = name
        self._check = check
        self._words = {True: up, False: down}
        self._timeout_seconds = timeout_seconds
        self._flights = PerLoop(lambda: nullcontext(SingleFlight(self._run)))
        self._is_logged_down = False

    async def state(self) -> ComponentState:
        """Join the running check or start one; wait at most `timeout_seconds`."""
        task = (await self._flights.get()).task()
        await asyncio.wait({task}, timeout=self._timeout_seconds)
        problem = self._problem(task)
        task.cancel()
        self._log(problem)
        return ComponentState(problem is None, self._words[problem is None])

    async def _run(self) -> object:
        try:
            return await self._check()
        except SystemExit as error:  # asyncio would end the process
            raise NotReadyError(f"its check raised {error!r}") from error

    def _problem(self, task: asyncio.Task[object]) -> str | None:
        if not task.done():
            return f"no answer within {self._timeout_seconds:g} s"
        if task.cancelled():
            return "its check was cancelled"
        error = task.exception()
        if isinstance(error, NotReadyError):
            return str(error)
        if error is not None:
            return "".join(traceback.format_exception_only(error))  # also if its own `__str__` fails
        answer = task.result()
        return None if answer is True else f"its check returned {reprlib.repr(answer)}"

    def _log(self, problem: str | None) -> None:
        if problem is not None:
            level = logging.DEBUG if self._is_logged_down else logging.WARNING
            logger.log(level, "the component %s is down: %s", self.name, " ".join(problem.split())[:MAX_SHOWN_LENGTH])
        elif self._is_logged_down:
            logger.info("the component %s is up again", self.name)
        self._is_logged_down = problem is not None

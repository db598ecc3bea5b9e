"""Make a model of the simulator hang, and read what the service did about it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from simulator import Simulator
from tests.kinds import PATIENCE_SECONDS, STREAMED_NDJSON, WHOLE, Kind, Seen, see

MODEL = "llama3.1"
STUCK_AFTER = 0.2
UNLOAD = {"model": MODEL, "keep_alive": 0, "stream": False}


@asynccontextmanager
async def begun(client: aiohttp.ClientSession, url: str, kind: Kind = STREAMED_NDJSON) -> AsyncIterator[None]:
    """Hold a stream that has begun to answer; leaving closes it in mid-stream."""
    async with kind.ask(client, url) as response:
        await response.content.readany()
        yield
        response.close()


async def cancel(client: aiohttp.ClientSession, url: str, simulator: Simulator, kind: Kind = STREAMED_NDJSON) -> None:
    """Leave a stream midway, and wait until Ollama has noticed."""
    async with begun(client, url, kind):
        call = simulator.calls_to(kind.upstream)[-1]
    await call.ended_event.wait()


async def cancel_and_hang(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    """Leave a stream midway, which costs the model its slot."""
    simulator.lost_slot_probability = 1
    await cancel(client, url, simulator)
    simulator.lost_slot_probability = 0


def unloads(simulator: Simulator) -> list[Any]:
    """Return the requests to unload a model."""
    return [call.body for call in simulator.calls_to("/api/generate") if call.body.get("keep_alive") == 0]


async def stuck_models(client: aiohttp.ClientSession, url: str) -> list[Any]:
    """Return what `/health` tells, which stays healthy."""
    async with client.get(f"{url}/health") as response:
        assert response.status == 200
        models: list[Any] = (await response.json())["ollama"]["stuck_models"]
        return models


def warnings_of(seen: Seen) -> Any:
    return seen.json["warnings"] if "warnings" in seen.body.decode().partition("\n")[0] else seen.events[-1]["warnings"]


async def refused(client: aiohttp.ClientSession, url: str, kind: Kind = WHOLE) -> Seen:
    """Return an answer that has to refuse a stuck model, at once."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        seen = await see(kind.ask(client, url))
    assert seen.status == 503
    if kind.prefix == "/api/ollama":
        assert seen.code == "model_stuck"
        assert seen.json["retryable"] is True
    assert 5 <= int(seen.headers["Retry-After"]) <= 62
    return seen

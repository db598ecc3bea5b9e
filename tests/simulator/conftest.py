from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio

from simulator import Simulator


@pytest_asyncio.fixture
async def client(simulator: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(simulator.url, timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


@pytest_asyncio.fixture
async def old_client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a simulator that speaks as Ollama 0.24."""
    async with Simulator(age="0.24") as old, aiohttp.ClientSession(old.url) as session:
        yield session

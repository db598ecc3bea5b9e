import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from config import Settings
from main import create_app
from simulator import Simulator
from tests.serving import serve

MakeSettings = Callable[..., Settings]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's settings, `.env` files and proxies away from the tests and the processes they start."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("SERVICE_ENV_FILE", os.devnull)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """An upstream that behaves like Ollama, with faults on demand."""
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
def make_settings(simulator: Simulator) -> MakeSettings:
    """Settings that lead to the simulator, with quick retries; a test names what it wants otherwise."""

    def make(**values: Any) -> Settings:
        quick: dict[str, Any] = {
            "ollama_base_url": simulator.url,
            "ollama_retry_backoff": 0.01,
            "ollama_connect_timeout": 2.0,
        }
        return Settings(_env_file=None, **(quick | values))

    return make


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the service."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def url(make_settings: MakeSettings) -> AsyncIterator[str]:
    """The address of the service with default settings, in front of the simulator."""
    async with serve(create_app(make_settings())) as url:
        yield url

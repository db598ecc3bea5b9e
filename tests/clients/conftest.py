from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulator import Simulator
from tests.service_process import ServiceProcess, run_service

API_KEY = "correct-horse"


@pytest.fixture
async def service(simulator: Simulator, tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    """The service as a process, with an API key, in front of the simulator."""
    async with run_service(
        simulator.url, tmp_path, api_keys=API_KEY, ollama_retry_backoff=0.01, sse_ping_interval=0.1
    ) as process:
        yield process

"""The agents of the example, as they are run: a process in an environment of its own (`make test-agents`)."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from config import Settings
from main import create_app
from simulator import Simulator
from tests.service_process import ROOT, free_port
from tests.serving import serve

EXAMPLE = ROOT / "examples" / "crewai"
API_KEY = "correct-horse"
START_SECONDS = 300  # crewai takes 6 s of processor time to import, on a busy machine minutes


@dataclass(frozen=True)
class Agents:
    """The running agents, the service they use, and the simulator behind it."""

    url: str
    service_url: str
    simulator: Simulator
    log: Path
    told: list[asyncio.StreamWriter]
    """Connections to anybody else: every one by HTTPS goes to a proxy of the tests'."""

    async def are_initialized(self, client: aiohttp.ClientSession) -> bool:
        """Whether the service's `/health` says so; its word and its status must agree."""
        async with client.get(f"{self.service_url}/health") as response:
            document = await response.json()
        word = document["services"]["crewai_agents"]
        assert (word, document["status"], response.status) in {
            ("initialized", "healthy", 200),
            ("not_initialized", "degraded", 503),
        }
        return bool(word == "initialized")


@pytest.fixture(scope="session")
def agents_python() -> str:
    """Path of the Python with crewai installed."""
    path = os.environ.get("AGENTS_PYTHON")
    if path is None:
        pytest.skip("needs examples/crewai/requirements.txt in an environment of its own (make test-agents)")
    return str(ROOT / path)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agents(agents_python: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Agents]:
    """The agents, initialized, in front of a service of their own that knows them by their URL."""
    folder = tmp_path_factory.mktemp("agents")
    port, told = free_port(), list[asyncio.StreamWriter]()
    url = f"http://127.0.0.1:{port}"
    proxy = await asyncio.start_server(lambda _, writer: told.append(writer), "127.0.0.1", 0)
    async with Simulator() as simulator, proxy:
        settings = Settings(
            _env_file=None,
            ollama_base_url=simulator.url,
            ollama_retry_attempts=2,
            ollama_retry_backoff=0.01,
            api_keys=[API_KEY],
            crewai_health_url=f"{url}/health",
        )
        async with serve(create_app(settings)) as service_url, aiohttp.ClientSession() as client:
            found = Agents(url, service_url, simulator, folder / "agents.log", told)
            assert not await found.are_initialized(client)
            process = await _start(agents_python, port, found, proxy.sockets[0].getsockname()[1])
            try:
                async with asyncio.timeout(START_SECONDS):
                    while not await found.are_initialized(client):
                        assert process.returncode is None, found.log.read_text()
                        await asyncio.sleep(0.1)
                yield found
            finally:
                process.terminate()
                await process.wait()


async def _start(python: str, port: int, found: Agents, proxy_port: int) -> asyncio.subprocess.Process:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(found.log.parent),
        "CREWAI_STORAGE_DIR": str(found.log.parent / "crewai"),
        "HTTPS_PROXY": f"http://127.0.0.1:{proxy_port}",
        "SERVICE_URL": found.service_url,
        "SERVICE_KEY": API_KEY,
        "RESEARCHER_MODEL": "gpt-oss",
        "RESEARCHER_TEMPERATURE": "0.25",
        "QUALITY_MODEL": "llama3.1",
    }
    command = ["-m", "uvicorn", "app:app", "--port", str(port)]
    with found.log.open("wb") as log:
        return await asyncio.create_subprocess_exec(
            python, *command, cwd=EXAMPLE, env=environment, stdout=log, stderr=log
        )

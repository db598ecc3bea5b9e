import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from simulator import Simulator
from tests.browser.conftest import browser, chromium, tab
from tests.clients.nextjs.next_app import NextApp, build, run_next
from tests.service_process import ServiceProcess, free_port, run_service

__all__ = ["browser", "chromium", "tab"]

KEY = "correct-horse"

# The browser uses one event loop for all tests, and so must everything behind it.


@pytest.fixture(scope="session")
def built() -> None:
    """The example, built."""
    build()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ollama() -> AsyncIterator[Simulator]:
    """The upstream of all tests."""
    async with Simulator() as simulator:
        yield simulator


@pytest_asyncio.fixture(loop_scope="session")
async def simulator(ollama: Simulator) -> AsyncIterator[Simulator]:
    """The upstream, without the calls, faults and token rate of the previous test."""
    async with asyncio.timeout(5):
        while ollama.open_calls:
            await asyncio.sleep(0.01)
    ollama.calls.clear()
    yield ollama
    ollama.clear_faults()
    ollama.seconds_per_token = 0.0


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(ollama: Simulator, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServiceProcess]:
    """The service, which requires an API key."""
    async with run_service(ollama.url, tmp_path_factory.mktemp("service"), api_keys=KEY) as service:
        yield service


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def next_app(
    built: None,  # noqa: ARG001 - it has to be built first
    service: ServiceProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[NextApp]:
    """The example, in front of the service."""
    async with run_next(service.url, tmp_path_factory.mktemp("next"), KEY) as app:
        yield app


@pytest.fixture
def app(next_app: NextApp) -> NextApp:
    """The example, in front of the service, with an empty log."""
    next_app.forget_log()
    return next_app


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def next_app_alone(
    built: None,  # noqa: ARG001 - it has to be built first
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[NextApp]:
    """The example without a running service."""
    async with run_next(f"http://127.0.0.1:{free_port()}", tmp_path_factory.mktemp("next")) as app:
        yield app


@pytest.fixture
def app_without_service(next_app_alone: NextApp) -> NextApp:
    """The example without a running service, with an empty log."""
    next_app_alone.forget_log()
    return next_app_alone

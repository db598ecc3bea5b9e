"""Upstreams for the integration tests: a real Ollama, and the simulator."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from main import create_app
from tests.integration.ollama_server import OllamaServer, installed_ollama
from tests.integration.tiny_models import TINY_MODELS, UNLOADABLE, install
from tests.integration.upstreams import ActualOllama, Api, Upstream, settings_for
from tests.serving import serve

HOW_TO_RUN = "needs Ollama: install it (ollama.com/download), or name a running server in OLLAMA_TEST_URL"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ollama(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ActualOllama]:
    """The server at OLLAMA_TEST_URL, otherwise one that the tests start."""
    given = os.environ.get("OLLAMA_TEST_URL", "").rstrip("/")
    if given:
        await _install_missing(given)
        yield ActualOllama(given, ours=False)
        return
    server = await _start(tmp_path_factory.mktemp("ollama"))
    try:
        yield ActualOllama(server.url, ours=True)
    finally:
        server.stop()


@pytest.fixture
async def mortal_ollama(tmp_path: Path) -> AsyncIterator[OllamaServer]:
    """A server for one test, which may be killed and restarted."""
    server = await _start(tmp_path)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(params=["simulator", "ollama"])
def upstream(request: pytest.FixtureRequest) -> Upstream:
    """Each upstream in turn: both must behave the same."""
    found: Upstream = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def direct(client: aiohttp.ClientSession, upstream: Upstream) -> Api:
    """The upstream itself, without the service."""
    return Api(client, upstream.url)


@pytest.fixture
async def runs_llama_server(direct: Api) -> bool:
    """Whether the upstream is Ollama 0.30 or newer, whose models run in llama-server.

    Determined from the model list, as in the service for builds without a version.
    """
    async with direct.get("/api/version") as response:
        version = (await response.json())["version"]
    async with direct.get("/api/tags") as response:
        models = (await response.json())["models"]
    return "simulator" not in version and any("capabilities" in model for model in models)


@pytest.fixture
async def service(client: aiohttp.ClientSession, upstream: Upstream) -> AsyncIterator[Api]:
    """The service in front of the upstream."""
    async with serve(create_app(settings_for(upstream))) as url:
        yield Api(client, url)


async def _start(folder: Path) -> OllamaServer:
    executable = installed_ollama()
    if executable is None:
        pytest.skip(HOW_TO_RUN)
    server = OllamaServer(executable, folder)
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            for model in (*TINY_MODELS, UNLOADABLE):
                await install(session, server.url, model)
    except BaseException:
        server.stop()
        raise
    return server


async def _install_missing(url: str) -> None:
    """Install the tiny models under the names that the server does not have."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/api/tags") as response:
            installed = {model["name"] for model in (await response.json())["models"]}
        for model in TINY_MODELS:
            if f"{model.name}:latest" not in installed:
                await install(session, url, model)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Report at the end that tests were skipped, and how to run them."""
    yield
    reports = terminalreporter.stats.get("skipped", [])
    count = sum(HOW_TO_RUN in str(report.longrepr) for report in reports)
    if count:
        terminalreporter.write_line(f"{count} tests did not run; each {HOW_TO_RUN}", yellow=True)

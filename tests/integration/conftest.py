"""Upstreams for the tests of the service as a whole: an actual Ollama of each version that is given, and the simulator.

OLLAMA_TEST_BINARIES names the programs, with the path separator between; by default it is the `ollama` on the PATH.
"""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from main import create_app
from simulator import Simulator
from simulator.ages import Age
from tests.integration.ollama_server import OllamaServer, ollama_binaries
from tests.integration.tiny_models import TINY_MODELS, UNLOADABLE, install
from tests.integration.upstreams import ActualOllama, Api, Upstream, settings_for
from tests.serving import serve

SIMULATORS: dict[str, Age] = {"simulator": "0.33", "simulator-0.24": "0.24"}
HOW_TO_RUN = "needs Ollama: install it (ollama.com/download), or name a running server in OLLAMA_TEST_URL"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on every upstream that it can be run on."""
    binaries = [""] if os.environ.get("OLLAMA_TEST_URL") else ollama_binaries()
    names = dict.fromkeys(binaries, "ollama") if len(binaries) == 1 else {path: _label(path) for path in binaries}
    if "ollama" in metafunc.fixturenames:
        metafunc.parametrize("ollama", binaries, ids=names.get, indirect=True)
    elif "mortal_ollama" in metafunc.fixturenames:
        metafunc.parametrize("mortal_ollama", binaries, ids=names.get, indirect=True)
    elif "upstream" in metafunc.fixturenames:
        upstreams = {**{name: name for name in SIMULATORS}, **names}
        metafunc.parametrize("upstream", list(upstreams), ids=upstreams.get, indirect=True)


def _label(binary: str) -> str:
    """Return the name of the installation: the folder that contains `bin/ollama`."""
    return Path(binary).parent.parent.name


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, OllamaServer]]:
    """The servers that are running, by their program; each serves all tests."""
    running: dict[str, OllamaServer] = {}
    yield running
    for server in running.values():
        server.stop()


@pytest.fixture
async def ollama(
    request: pytest.FixtureRequest, servers: dict[str, OllamaServer], tmp_path_factory: pytest.TempPathFactory
) -> ActualOllama:
    """The server that OLLAMA_TEST_URL names, else one of our own."""
    binary: str = request.param
    return await _actual(binary, servers, tmp_path_factory)


@pytest.fixture
async def mortal_ollama(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OllamaServer]:
    """A server of one test's own, to be killed and started again."""
    server = await _start(request.param or shutil.which("ollama") or "", tmp_path)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
async def upstream(
    request: pytest.FixtureRequest,
    servers: dict[str, OllamaServer],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Upstream]:
    """Each upstream in turn."""
    wanted: str = request.param
    if wanted in SIMULATORS:
        async with Simulator(age=SIMULATORS[wanted]) as simulator:
            yield simulator
    else:
        yield await _actual(wanted, servers, tmp_path_factory)


@pytest.fixture
def direct(client: aiohttp.ClientSession, upstream: Upstream) -> Api:
    """The upstream itself, without the service."""
    return Api(client, upstream.url)


@pytest.fixture
async def runs_llama_server(direct: Api) -> bool:
    """Whether the upstream is Ollama 0.30 or newer, whose models run in llama-server, according to its model list."""
    async with direct.get("/api/tags") as response:
        models = (await response.json())["models"]
    return any("capabilities" in model for model in models)


@pytest.fixture
async def service(client: aiohttp.ClientSession, upstream: Upstream) -> AsyncIterator[Api]:
    """The service in front of the upstream."""
    async with serve(create_app(settings_for(upstream))) as url:
        yield Api(client, url)


async def _actual(
    binary: str, servers: dict[str, OllamaServer], tmp_path_factory: pytest.TempPathFactory
) -> ActualOllama:
    given = os.environ.get("OLLAMA_TEST_URL", "").rstrip("/")
    if given:
        await _install_missing(given)
        return ActualOllama(given, ours=False)
    if binary not in servers:
        servers[binary] = await _start(binary, tmp_path_factory.mktemp("ollama"))
    return ActualOllama(servers[binary].url, ours=True)


async def _start(executable: str, folder: Path) -> OllamaServer:
    if not executable:
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

import asyncio
import faulthandler
import gc
import io
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from typing import Any

import aiohttp
import pytest
import uvloop

from config import Settings, get_settings
from main import create_app
from server.observability.logging import configure_logging
from simulator import Simulator
from tests.serving import serve

MakeSettings = Callable[..., Settings]
LoopFactory = Callable[[], asyncio.AbstractEventLoop]
LOOP_FACTORIES: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


STDERR = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep a copy of stderr that pytest does not capture."""
    config.stash[STDERR] = os.dup(2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """End the run if pytest-timeout cannot end a test.

    It cannot interrupt uvloop nor a wait for a thread, and has no limit for the fixtures of a test that has failed.
    """
    limit = float(item.config.getini("timeout"))
    if item.config.getoption("usepdb") or not limit:
        return (yield)
    timer = threading.Timer(2 * limit, _end_run, (item.nodeid, item.config.stash[STDERR]))
    timer.daemon = True
    timer.start()
    try:
        return (yield)
    finally:
        timer.cancel()
        timer.join()


def _end_run(test: str, stderr: int) -> None:
    with os.fdopen(stderr, "w") as output:
        output.write(f"\n{test} does not end. All threads and tasks:\n")
        output.flush()
        faulthandler.dump_traceback(output)
        for task in [it for it in gc.get_objects() if isinstance(it, asyncio.Task) and not it.done()]:
            task.print_stack(file=output)
        output.flush()
        os._exit(1)


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, LoopFactory]:
    """Run tests on asyncio's own loop, and those marked `every_loop` on uvloop too."""
    if item.get_closest_marker("every_loop") is not None:
        return LOOP_FACTORIES
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the machine's settings, `.env` files and proxies away from the tests and the processes they start.

    The cached settings are those of an earlier test.
    """
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("SERVICE_ENV_FILE", os.devnull)
    get_settings.cache_clear()
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """An upstream that behaves like Ollama, with faults on demand."""
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
def make_settings(simulator: Simulator) -> MakeSettings:
    """Settings for the simulator with quick retries; a test passes those that differ."""

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


@pytest.fixture
async def quiet(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """Check that disconnects log no errors and no tracebacks."""
    loud: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: loud.append(context))
    yield
    logged = caplog.get_records("call")  # `records` are only those since the test ended
    loud += [record.getMessage() for record in logged if record.levelno > logging.WARNING or record.exc_info]
    assert loud == []


@pytest.fixture
def service_log(make_settings: MakeSettings) -> Iterator[io.StringIO]:
    """The output of the service's log handler."""
    configure_logging(make_settings())
    (handler,) = [
        handler
        for handler in logging.getLogger().handlers
        if type(handler).__module__ == "server.observability.logging"
    ]
    assert isinstance(handler, logging.StreamHandler)
    written = io.StringIO()
    before = handler.setStream(written)
    yield written
    handler.setStream(before)

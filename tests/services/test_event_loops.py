"""The in-process API in several event loops and threads: what they share, and what they leave."""

import asyncio
import gc
import time
import warnings
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any

import aiohttp
import pytest

from config import get_settings
from services.ollama_service import OllamaService, ollama_service
from simulator import Simulator
from tests.api import GENERATE, succeed
from tests.conftest import LOOP_FACTORIES, LoopFactory, MakeSettings
from tests.kinds import PATIENCE_SECONDS, until
from tests.services.conftest import MESSAGES

pytestmark = pytest.mark.every_loop


async def use(service: OllamaService) -> None:
    """Use several methods, and leave a stream before its end."""
    assert await service.health_check()
    assert await service.generate("llama3.1", "Hi")
    assert [piece async for piece in await service.chat("llama3.1", MESSAGES, stream=True)]
    assert await service.generate_embeddings("Hi")
    async with aclosing(await service.generate("llama3.1", "Hi", stream=True)) as stream:
        await anext(stream)


def run_in_a_loop_of_its_own(
    work: Coroutine[Any, Any, None], loop_factory: LoopFactory = asyncio.new_event_loop
) -> None:
    """Run work in a new event loop, with unclosed resources as errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(work)
        gc.collect()


async def call_all(service: OllamaService) -> None:
    await use(service)
    assert await service.list_models()
    assert await service.is_model_available("llama3.1")
    assert await service.chat("llama3.1", MESSAGES)


CALLS: list[Callable[[OllamaService], Coroutine[Any, Any, object]]] = [
    OllamaService.connect,
    OllamaService.list_models,
    OllamaService.health_check,
    lambda service: service.generate("llama3.1", "Hi"),
    lambda service: service.generate_embeddings("Hi"),
    call_all,
]


@pytest.mark.parametrize("call", CALLS)
async def test_the_loop_is_idle_after_a_call_and_disconnect_returns(
    service: OllamaService, simulator: Simulator, call: Callable[[OllamaService], Coroutine[Any, Any, object]]
) -> None:
    await call(service)
    before = time.process_time()
    await asyncio.sleep(0.3)
    used = time.process_time() - before
    async with asyncio.timeout(PATIENCE_SECONDS):
        await service.disconnect()
    assert used < 0.05
    await until(lambda: simulator.open_connections == 0)


@pytest.mark.parametrize("loop_factory", LOOP_FACTORIES.values(), ids=LOOP_FACTORIES)
async def test_the_singleton_works_in_successive_event_loops(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, loop_factory: LoopFactory
) -> None:
    monkeypatch.setenv("OLLAMA_BASE_URL", simulator.url)
    get_settings.cache_clear()
    for factory in (loop_factory, asyncio.new_event_loop):
        await asyncio.to_thread(run_in_a_loop_of_its_own, use(ollama_service), factory)
    get_settings.cache_clear()
    await until(lambda: simulator.open_connections == 0)
    assert len(simulator.calls_to("/api/generate")) == 4


@pytest.mark.parametrize("loop_factory", LOOP_FACTORIES.values(), ids=LOOP_FACTORIES)
async def test_a_worker_thread_uses_the_service_while_the_main_loop_serves(
    client: aiohttp.ClientSession,
    url: str,
    make_settings: MakeSettings,
    simulator: Simulator,
    loop_factory: LoopFactory,
) -> None:
    service = OllamaService(make_settings())
    stream = await service.generate("llama3.1", "Hi", stream=True)
    first = await anext(stream)
    thread = asyncio.create_task(asyncio.to_thread(run_in_a_loop_of_its_own, use(service), loop_factory))
    while not thread.done():
        assert await service.generate("llama3.1", "Hi")
        assert (await succeed(client, url, "generate", GENERATE))["response"]
    await thread
    assert len([first] + [piece async for piece in stream]) == simulator.answer_tokens
    await service.disconnect()


@pytest.mark.parametrize("loop_factory", LOOP_FACTORIES.values(), ids=LOOP_FACTORIES)
async def test_an_unclosed_service_leaves_no_connection_when_its_loop_ends(
    make_settings: MakeSettings, simulator: Simulator, loop_factory: LoopFactory
) -> None:
    service = OllamaService(make_settings())

    async def leave() -> None:
        await service.connect()
        assert await service.generate("llama3.1", "Hi")

    await asyncio.to_thread(run_in_a_loop_of_its_own, leave(), loop_factory)
    await until(lambda: simulator.open_connections == 0)
    assert await service.generate("llama3.1", "Hi")
    await service.disconnect()

"""Calls of the in-process API that are cancelled, time out or are not read to the end."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from services.ollama_service import OllamaService
from simulator import Fault, Simulator
from tests.conftest import MakeSettings
from tests.kinds import (
    PATIENCE_SECONDS,
    until,
)

pytestmark = pytest.mark.usefixtures("quiet")


def streams(service: OllamaService) -> list[Callable[[], Any]]:
    return [
        lambda: service.generate("llama3.1", "hello", stream=True),
        lambda: service.chat("llama3.1", [{"role": "user", "content": "hello"}], stream=True),
    ]


@pytest.mark.parametrize("which", [0, 1])
async def test_a_stream_closed_early_closes_its_upstream(
    make_settings: MakeSettings, simulator: Simulator, which: int
) -> None:
    simulator.seconds_per_token = 0.002
    simulator.fault(Fault(endless=True))
    service = OllamaService(make_settings())
    texts = await streams(service)[which]()
    async for text in texts:
        assert text
        break
    await texts.aclose()
    assert await service.queue_stats() == (0, 0)
    await until(lambda: simulator.open_calls == 0)
    await service.disconnect()


async def test_a_stream_dropped_unread_releases_its_slot(make_settings: MakeSettings, simulator: Simulator) -> None:
    simulator.seconds_per_token = 0.002
    simulator.fault(Fault(endless=True))
    service = OllamaService(make_settings())
    never_begun = await service.generate("llama3.1", "hello", stream=True)
    dropped = await service.generate("llama3.1", "hello", stream=True)
    assert await anext(dropped)
    assert await service.queue_stats() == (1, 0)
    del never_begun, dropped
    gc.collect()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await service.queue_stats() != (0, 0):
            await asyncio.sleep(0.005)
    await until(lambda: simulator.open_calls == 0)
    await service.disconnect()


async def test_a_cancelled_task_closes_its_upstream(make_settings: MakeSettings, simulator: Simulator) -> None:
    simulator.fault(Fault(hang=True, times=None))
    service = OllamaService(make_settings())
    tasks = [
        asyncio.create_task(service.generate("llama3.1", "hello")),
        asyncio.create_task(service.chat("llama3.1", [{"role": "user", "content": "hello"}])),
        asyncio.create_task(service.generate_embeddings("hello")),
    ]
    for path in ("/api/generate", "/api/chat", "/api/embed"):
        await simulator.received(path)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in results} == {asyncio.CancelledError}
    assert await service.queue_stats() == (0, 0)
    await until(lambda: simulator.open_calls == 0)
    await service.disconnect()


async def test_a_timeout_of_the_caller_is_raised_as_a_timeout(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    simulator.fault(Fault(hang=True))
    service = OllamaService(make_settings())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await service.generate("llama3.1", "hello")
    assert await service.queue_stats() == (0, 0)
    await service.disconnect()

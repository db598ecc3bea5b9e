"""Loaded models: loading, reloading and unloading."""

import asyncio

import aiohttp

from simulator import Simulator
from tests.simulator.requests import CHAT, GENERATE, ended, whole


async def test_ps_lists_loaded_models(client: aiohttp.ClientSession) -> None:
    async def running() -> list[str]:
        async with client.get("/api/ps") as response:
            return [model["name"] for model in (await response.json())["models"]]

    assert await running() == []
    await whole(client, GENERATE)
    await whole(client, GENERATE | {"model": "gpt-oss"}, keep_alive=-1)
    assert await running() == ["gpt-oss:latest", "llama3.1:latest"]
    answer = await whole(client, {"model": "gpt-oss"}, keep_alive=0)
    assert answer["done_reason"] == "unload"
    await whole(client, CHAT, keep_alive="0s")
    assert await running() == []


async def test_changing_num_ctx_reloads_the_model(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    for num_ctx in (1024, 1024, 2048):
        await whole(client, GENERATE, options={"num_ctx": num_ctx})
    assert simulator.loads["llama3.1:latest"] == 2


async def test_the_first_response_of_a_model_waits_for_its_load() -> None:
    async with Simulator(load_seconds=0.1) as simulator, aiohttp.ClientSession(simulator.url) as client:
        first, second = await whole(client, GENERATE), await whole(client, GENERATE)
    assert first["load_duration"] >= 99_000_000 > second["load_duration"]


async def test_a_disconnect_cancels_the_load() -> None:
    async with Simulator(load_seconds=20) as simulator, aiohttp.ClientSession(simulator.url) as client:
        leaving = asyncio.create_task(whole(client, GENERATE))
        call = await simulator.received("/api/generate")
        await asyncio.sleep(0.02)
        leaving.cancel()
        assert (await ended(call)).outcome == "client_gone"
        async with client.get("/api/ps") as response:
            assert (await response.json())["models"] == []

"""A model that is slow, busy or being loaded is not taken for one that hangs."""

import asyncio

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.conftest import MakeSettings
from tests.kinds import (
    EMBEDDINGS,
    NATIVE_STREAM,
    NATIVE_WHOLE,
    STREAMED_NDJSON,
    WHOLE,
    Kind,
    see,
    until,
)
from tests.services.stuck_models.hanging import (
    MODEL,
    STUCK_AFTER,
    cancel,
    stuck_models,
    unloads,
    warnings_of,
)
from tests.serving import serve


async def test_another_name_of_the_same_weights_that_is_at_work_shows_that_nothing_hangs(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.install("writer", same_weights_as=MODEL)
    await cancel(client, url, simulator)
    simulator.fault(Fault(endless=True))
    async with STREAMED_NDJSON.ask(client, url, model="writer") as endless:
        await endless.content.readany()
        simulator.fault(Fault(delay_seconds=2 * STUCK_AFTER))
        assert (await see(WHOLE.ask(client, url))).status == 200
        endless.close()
    assert not unloads(simulator)


@pytest.mark.parametrize("kind", [WHOLE, STREAMED_NDJSON, NATIVE_STREAM], ids=lambda kind: kind.name)
async def test_without_a_cancel_silence_is_no_sign(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, kind: Kind
) -> None:
    assert (await see(kind.ask(client, url))).status == 200
    simulator.fault(Fault(delay_seconds=2 * STUCK_AFTER))
    assert (await see(kind.ask(client, url))).status == 200
    assert not unloads(simulator)
    assert await stuck_models(client, url) == []


async def test_an_answer_after_the_cancel_ends_the_suspicion(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    await cancel(client, url, simulator)
    assert (await see(WHOLE.ask(client, url))).status == 200
    simulator.fault(Fault(delay_seconds=2 * STUCK_AFTER))
    assert (await see(STREAMED_NDJSON.ask(client, url))).status == 200
    assert not unloads(simulator)


async def test_a_cold_load_is_no_sign(make_settings: MakeSettings, client: aiohttp.ClientSession) -> None:
    async with Simulator(load_seconds=3 * STUCK_AFTER, seconds_per_token=0.01) as simulator:
        settings = make_settings(ollama_base_url=simulator.url, ollama_stuck_after=STUCK_AFTER)
        async with serve(create_app(settings)) as url:
            await cancel(client, url, simulator)
            await see(NATIVE_WHOLE.ask(client, url, messages=[], keep_alive=0))
            seen = await see(STREAMED_NDJSON.ask(client, url))
            assert warnings_of(seen) == []
            assert simulator.loads[f"{MODEL}:latest"] == 2


async def test_a_model_that_was_loaded_for_the_request_itself_is_no_sign(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    await cancel(client, url, simulator)
    await see(NATIVE_WHOLE.ask(client, url, messages=[], keep_alive=0))
    simulator.seconds_per_token = 2 * STUCK_AFTER
    simulator.answer_tokens = 1
    assert warnings_of(await see(STREAMED_NDJSON.ask(client, url))) == []
    assert simulator.loads[f"{MODEL}:latest"] == 2


async def test_a_long_prompt_gets_the_time_to_be_read(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    await cancel(client, url, simulator)
    simulator.fault(Fault(delay_seconds=3 * STUCK_AFTER))
    assert (await see(STREAMED_NDJSON.ask(client, url, prompt="word " * 100))).status == 200
    assert not unloads(simulator)


async def test_embeddings_that_take_long_get_their_time(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.install(MODEL, capabilities=("completion", "embedding"))
    await cancel(client, url, simulator)
    simulator.fault(Fault(path="/api/embed", delay_seconds=3 * STUCK_AFTER))
    seen = await see(EMBEDDINGS.ask(client, url, model=MODEL, text=["word " * 10] * 20))
    assert seen.status == 200
    assert not unloads(simulator)


async def test_a_relayed_whole_answer_that_takes_long_is_left_alone(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    await cancel(client, url, simulator)
    simulator.seconds_per_token = STUCK_AFTER / 2
    long = asyncio.create_task(see(NATIVE_WHOLE.ask(client, url)))
    await simulator.received("/api/chat")
    simulator.fault(Fault(path="/api/generate", delay_seconds=2 * STUCK_AFTER))
    assert (await see(STREAMED_NDJSON.ask(client, url))).status == 200
    assert (await long).status == 200
    assert not unloads(simulator)


async def test_a_request_that_waits_behind_a_long_prompt_is_no_sign(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    await cancel(client, url, simulator)
    simulator.fault(Fault(delay_seconds=4 * STUCK_AFTER, times=2))
    long = asyncio.create_task(see(STREAMED_NDJSON.ask(client, url, prompt="word " * 200)))
    await simulator.received("/api/generate", 2)
    short = await see(STREAMED_NDJSON.ask(client, url))
    assert [warnings_of(short), warnings_of(await long)] == [[], []]
    assert not unloads(simulator)


async def test_a_long_prompt_that_was_cut_off_is_read_on_for_a_while(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    assert (await see(STREAMED_NDJSON.ask(client, url))).status == 200
    simulator.fault(Fault(hang=True))
    long = asyncio.create_task(see(STREAMED_NDJSON.ask(client, url, prompt="word " * 200)))
    await simulator.received("/api/generate", 2)
    long.cancel()
    await until(lambda: simulator.open_calls == 0)
    simulator.fault(Fault(delay_seconds=4 * STUCK_AFTER))
    assert warnings_of(await see(STREAMED_NDJSON.ask(client, url))) == []
    assert not unloads(simulator)


async def test_another_client_of_the_same_ollama_is_not_cut_off(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    await cancel(client, url, simulator)
    simulator.fault(Fault(endless=True))
    body = {"model": MODEL, "prompt": "hello"}
    async with client.post(f"{simulator.url}/api/generate", json=body) as other:
        await other.content.readany()
        simulator.fault(Fault(delay_seconds=2 * STUCK_AFTER))
        waiting = asyncio.create_task(see(STREAMED_NDJSON.ask(client, url)))
        await until(lambda: bool(unloads(simulator)))
        await other.content.readany()  # it goes on
        other.close()
    seen = await waiting
    assert (seen.status, warnings_of(seen)) == (200, ["model_reloaded"])

"""A model that hangs after a cancel: noticed, unloaded, and what waited for it sent once more."""

import asyncio
from contextlib import aclosing

import aiohttp
import pytest

from main import create_app
from services.ollama.errors import ModelStuckError
from services.ollama_service import OllamaService
from simulator import Fault, Simulator
from tests.conftest import MakeSettings
from tests.kinds import (
    CHATS,
    EMBEDDINGS,
    GENERATES,
    NATIVE_STREAM,
    NATIVE_WHOLE,
    NATIVES,
    STREAMED_NDJSON,
    STREAMED_SSE,
    WHOLE,
    Kind,
    nothing_is_left,
    see,
    until,
)
from tests.prometheus import scrape
from tests.services.stuck_models.hanging import (
    MODEL,
    STUCK_AFTER,
    UNLOAD,
    begun,
    cancel,
    cancel_and_hang,
    stuck_models,
    unloads,
    warnings_of,
)
from tests.serving import serve


@pytest.mark.parametrize("kind", [*GENERATES[:3], *CHATS[:3]], ids=lambda kind: kind.name)
async def test_a_model_that_hangs_is_unloaded_and_the_request_sent_once_more(
    client: aiohttp.ClientSession,
    url: str,
    simulator: Simulator,
    caplog: pytest.LogCaptureFixture,
    kind: Kind,
) -> None:
    await cancel_and_hang(client, url, simulator)
    calls = len(simulator.calls_to(kind.upstream))
    async with asyncio.timeout(STUCK_AFTER + 10):
        seen = await see(kind.ask(client, url))
    assert seen.status == 200
    assert warnings_of(seen) == ["model_reloaded"]
    assert unloads(simulator) == [UNLOAD]
    asked = [call for call in simulator.calls_to(kind.upstream)[calls:] if "keep_alive" not in call.body]
    assert [call.outcome for call in asked] == ["client_gone", "completed"]
    assert asked[0].body == asked[1].body
    assert simulator.loads[f"{MODEL}:latest"] == 2
    [report] = await stuck_models(client, url)
    assert (report["model"], report["state"], report["reloads"]) == (MODEL, "reloaded", 1)
    assert report["noticed_at"] <= report["reloaded_at"]
    assert f"model {MODEL} is stuck" in caplog.text
    assert f"model {MODEL} was unloaded" in caplog.text
    shown = await scrape(client, url)
    assert shown.value("ollama_service_model_reloads_total") == 1
    assert shown.value("ollama_service_stuck_models") == 0
    again = await see(kind.ask(client, url))
    assert warnings_of(again) == []
    assert len(unloads(simulator)) == 1
    await nothing_is_left(client, url, simulator)


async def test_a_relayed_stream_is_sent_once_more_too(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.lost_slot_probability = 1
    await cancel(client, url, simulator, NATIVE_STREAM)
    simulator.lost_slot_probability = 0
    seen = await see(NATIVE_STREAM.ask(client, url))
    assert seen.status == 200
    assert unloads(simulator) == [UNLOAD]
    await nothing_is_left(client, url, simulator)


async def test_embeddings_of_a_model_that_also_writes_are_sent_once_more(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.install(MODEL, capabilities=("completion", "embedding"))
    await cancel_and_hang(client, url, simulator)
    seen = await see(EMBEDDINGS.ask(client, url, model=MODEL))
    assert seen.status == 200
    assert unloads(simulator) == [UNLOAD]


@pytest.mark.parametrize("kinds", [(STREAMED_SSE, STREAMED_NDJSON), (WHOLE, STREAMED_NDJSON)], ids=["streams", "whole"])
async def test_all_that_wait_are_sent_once_more_after_one_unloading(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, kinds: tuple[Kind, ...]
) -> None:
    await cancel_and_hang(client, url, simulator)
    seen = await asyncio.gather(*(see(kind.ask(client, url)) for kind in kinds))
    assert [warnings_of(one) for one in seen] == [["model_reloaded"]] * 2
    assert len(unloads(simulator)) == 1
    assert simulator.loads[f"{MODEL}:latest"] == 2
    await nothing_is_left(client, url, simulator)


async def test_what_waited_already_when_the_reader_left_is_sent_once_more(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.fault(Fault(endless=True))
    async with begun(client, url):
        simulator.lose_slot(MODEL)
        waiting = asyncio.create_task(see(WHOLE.ask(client, url)))
        await simulator.received("/api/generate", 2)
        await asyncio.sleep(1.5 * STUCK_AFTER)
        assert not unloads(simulator)  # the stream is at work
    seen = await waiting
    assert warnings_of(seen) == ["model_reloaded"]
    assert len(unloads(simulator)) == 1


async def test_another_name_of_the_same_weights_is_cured_as_well(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.install("writer", same_weights_as=MODEL)
    await cancel_and_hang(client, url, simulator)
    seen = await see(STREAMED_NDJSON.ask(client, url, model="writer"))
    assert warnings_of(seen) == ["model_reloaded"]
    assert [body["model"] for body in unloads(simulator)] == ["writer"]
    [report] = await stuck_models(client, url)
    assert report["model"] == "writer"


async def test_a_timeout_before_the_first_chunk_makes_suspicious_too(
    make_settings: MakeSettings, client: aiohttp.ClientSession, simulator: Simulator
) -> None:
    settings = make_settings(ollama_stuck_after=STUCK_AFTER, ollama_request_timeout=6 * STUCK_AFTER)
    async with serve(create_app(settings)) as url:
        await see(WHOLE.ask(client, url))
        simulator.lose_slot(MODEL)  # by another client of the same Ollama
        assert (await see(STREAMED_NDJSON.ask(client, url))).status == 504
        seen = await see(STREAMED_NDJSON.ask(client, url))
        assert warnings_of(seen) == ["model_reloaded"]


async def test_the_time_that_impatient_clients_waited_counts(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    await cancel_and_hang(client, url, simulator)
    for _ in range(40):  # none waits long enough alone
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.8 * STUCK_AFTER):
                await see(STREAMED_NDJSON.ask(client, url))
        if unloads(simulator):
            break
    assert unloads(simulator)
    async with asyncio.timeout(STUCK_AFTER + 10):
        assert (await see(STREAMED_NDJSON.ask(client, url))).status == 200
    await nothing_is_left(client, url, simulator)


async def test_a_client_that_leaves_during_the_healing_is_not_sent_again(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    await cancel_and_hang(client, url, simulator)
    waiting = asyncio.create_task(see(STREAMED_NDJSON.ask(client, url)))
    await simulator.received("/api/generate", 2)
    simulator.fault(Fault(path="/api/generate", delay_seconds=0.3))
    await until(lambda: bool(unloads(simulator)))
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await until(lambda: simulator.open_calls == 0)
    assert len(simulator.calls_to("/api/generate")) == 3
    assert (await see(WHOLE.ask(client, url))).status == 200
    await nothing_is_left(client, url, simulator)


async def test_what_comes_during_the_healing_waits_for_its_end(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    await cancel_and_hang(client, url, simulator)
    waiting = asyncio.create_task(see(STREAMED_NDJSON.ask(client, url)))
    await simulator.received("/api/generate", 2)
    simulator.fault(Fault(path="/api/generate", delay_seconds=0.3))
    await until(lambda: bool(unloads(simulator)))
    seen = await see(NATIVE_STREAM.ask(client, url))
    assert seen.status == 200
    assert (await waiting).status == 200
    assert len(unloads(simulator)) == 1


async def test_disconnecting_during_the_healing_ends_what_waits(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    simulator.seconds_per_token = 0.01
    service = OllamaService(make_settings(ollama_stuck_after=STUCK_AFTER))
    async with aclosing(await service.generate(MODEL, "hello", stream=True)) as texts:
        await anext(texts)
    await simulator.calls_to("/api/generate")[0].ended_event.wait()
    simulator.lose_slot(MODEL)
    waiting = asyncio.create_task(service.generate(MODEL, "hello"))
    await simulator.received("/api/generate", 2)
    simulator.fault(Fault(path="/api/generate", hang=True))
    await until(lambda: bool(unloads(simulator)))
    await service.disconnect()
    with pytest.raises(ModelStuckError):
        await waiting
    await until(lambda: simulator.open_calls == 0)


@pytest.mark.parametrize("kind", [NATIVE_WHOLE, NATIVES[2]], ids=lambda kind: kind.name)
async def test_relayed_whole_responses_are_sent_once_more_too(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, kind: Kind
) -> None:
    usual = await see(kind.ask(client, url))
    await cancel_and_hang(client, url, simulator)
    seen = await asyncio.gather(*(see(kind.ask(client, url)) for _ in range(2)))
    for one in seen:
        assert (one.status, one.headers["Content-Type"]) == (200, usual.headers["Content-Type"])
        assert one.json.keys() == usual.json.keys()
        assert one.json["done"] is True
        text, usual_text = (body.get("response") or body["message"]["content"] for body in (one.json, usual.json))
        assert text == usual_text
    assert unloads(simulator) == [UNLOAD]
    await nothing_is_left(client, url, simulator)


async def test_a_relayed_whole_response_that_fails_midway_is_an_error(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    await cancel(client, url, simulator)
    simulator.fault(Fault(path="/api/chat", error_after=3))
    seen = await see(NATIVE_WHOLE.ask(client, url))
    assert (seen.status, list(seen.json)) == (500, ["error"])
    assert simulator.calls_to("/api/chat")[-1].body["stream"] is True
    await nothing_is_left(client, url, simulator)

"""A model that hangs after a cancel: noticed, unloaded, and what waited for it sent once more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

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
    PATIENCE_SECONDS,
    STREAMED_NDJSON,
    STREAMED_SSE,
    WHOLE,
    Kind,
    Seen,
    nothing_is_left,
    see,
    until,
)
from tests.prometheus import scrape
from tests.serving import serve

MODEL = "llama3.1"
STUCK_AFTER = 0.2
UNLOAD = {"model": MODEL, "keep_alive": 0, "stream": False}


@pytest.fixture
async def url(make_settings: MakeSettings, simulator: Simulator) -> AsyncIterator[str]:
    simulator.seconds_per_token = 0.01
    simulator.answer_tokens = 8
    async with serve(create_app(make_settings(ollama_stuck_after=STUCK_AFTER))) as url:
        yield url


@asynccontextmanager
async def begun(client: aiohttp.ClientSession, url: str, kind: Kind = STREAMED_NDJSON) -> AsyncIterator[None]:
    """Hold a stream that has begun to answer; leaving closes it in mid-stream."""
    async with kind.ask(client, url) as response:
        await response.content.readany()
        yield
        response.close()


async def cancel(client: aiohttp.ClientSession, url: str, simulator: Simulator, kind: Kind = STREAMED_NDJSON) -> None:
    """Leave a stream midway, and wait until Ollama has noticed."""
    async with begun(client, url, kind):
        call = simulator.calls_to(kind.upstream)[-1]
    await call.ended_event.wait()


async def cancel_and_hang(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    """Leave a stream midway, which costs the model its slot."""
    simulator.lost_slot_probability = 1
    await cancel(client, url, simulator)
    simulator.lost_slot_probability = 0


def unloads(simulator: Simulator) -> list[Any]:
    """Return the requests to unload a model."""
    return [call.body for call in simulator.calls_to("/api/generate") if call.body.get("keep_alive") == 0]


async def stuck_models(client: aiohttp.ClientSession, url: str) -> list[Any]:
    """Return what `/health` tells, which stays healthy."""
    async with client.get(f"{url}/health") as response:
        assert response.status == 200
        models: list[Any] = (await response.json())["ollama"]["stuck_models"]
        return models


def warnings_of(seen: Seen) -> Any:
    return seen.json["warnings"] if "warnings" in seen.body.decode().partition("\n")[0] else seen.events[-1]["warnings"]


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


async def test_a_relayed_whole_answer_may_be_at_work_and_is_left_alone(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    await cancel(client, url, simulator)
    simulator.fault(Fault(path="/api/chat", delay_seconds=3 * STUCK_AFTER))
    long = asyncio.create_task(see(NATIVE_WHOLE.ask(client, url)))
    await simulator.received("/api/chat")
    simulator.fault(Fault(path="/api/generate", delay_seconds=2 * STUCK_AFTER))
    assert (await see(STREAMED_NDJSON.ask(client, url))).status == 200
    assert (await long).status == 200
    assert not unloads(simulator)


async def test_a_timeout_before_the_first_chunk_makes_suspicious_too(
    make_settings: MakeSettings, client: aiohttp.ClientSession, simulator: Simulator
) -> None:
    settings = make_settings(ollama_stuck_after=STUCK_AFTER, ollama_request_timeout=2 * STUCK_AFTER)
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
    for _ in range(4):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.8 * STUCK_AFTER):
                await see(STREAMED_NDJSON.ask(client, url))
        if unloads(simulator):
            break
    assert unloads(simulator)
    async with asyncio.timeout(STUCK_AFTER + 10):
        assert (await see(STREAMED_NDJSON.ask(client, url))).status == 200
    await nothing_is_left(client, url, simulator)


async def refused(client: aiohttp.ClientSession, url: str, kind: Kind = WHOLE) -> Seen:
    """Return an answer that has to refuse a stuck model, at once."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        seen = await see(kind.ask(client, url))
    assert seen.status == 503
    if kind.prefix == "/api/ollama":
        assert seen.code == "model_stuck"
        assert seen.json["retryable"] is True
    assert 5 <= int(seen.headers["Retry-After"]) <= 60
    return seen


async def test_where_unloading_fails_requests_are_refused_until_one_gets_through(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    await cancel_and_hang(client, url, simulator)
    waiting = asyncio.create_task(see(STREAMED_NDJSON.ask(client, url)))
    await simulator.received("/api/generate", 2)
    simulator.fault(Fault(path="/api/generate", status=500, message="cannot unload"))
    seen = await waiting
    assert (seen.status, seen.code) == (503, "model_stuck")
    assert [report["state"] for report in await stuck_models(client, url)] == ["stuck"]
    probe = asyncio.create_task(see(STREAMED_NDJSON.ask(client, url)))
    await simulator.received("/api/generate", 4)
    for kind in (WHOLE, STREAMED_SSE, NATIVE_STREAM):
        await refused(client, url, kind)
    assert len(simulator.calls_to("/api/generate")) == 4
    assert (await probe).code == "model_stuck"
    assert len(unloads(simulator)) == 1  # one a minute
    probe = asyncio.create_task(see(STREAMED_NDJSON.ask(client, url)))
    await simulator.received("/api/generate", 5)
    await refused(client, url)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    await until(lambda: simulator.open_calls == 0)
    async with client.post(f"{simulator.url}/api/generate", json=UNLOAD) as response:
        assert response.status == 200
    assert (await see(WHOLE.ask(client, url))).status == 200
    assert f"model {MODEL} answers again" in caplog.text
    seen_all = await asyncio.gather(*(see(WHOLE.ask(client, url)) for _ in range(5)))
    assert [one.status for one in seen_all] == [200] * 5
    assert await stuck_models(client, url) == []


async def test_a_second_hang_within_a_minute_is_not_healed_but_refused(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    await cancel_and_hang(client, url, simulator)
    assert (await see(WHOLE.ask(client, url))).status == 200
    await cancel_and_hang(client, url, simulator)
    for kind in (STREAMED_NDJSON, WHOLE):
        seen = await asyncio.gather(*(see(kind.ask(client, url)) for _ in range(3)))
        assert [(one.status, one.code) for one in seen] == [(503, "model_stuck")] * 3
    assert len(unloads(simulator)) == 1
    [report] = await stuck_models(client, url)
    assert (report["state"], report["reloads"]) == ("stuck", 1)


async def test_healing_can_be_switched_off(
    make_settings: MakeSettings, client: aiohttp.ClientSession, simulator: Simulator
) -> None:
    simulator.seconds_per_token = 0.01
    settings = make_settings(ollama_stuck_after=STUCK_AFTER, ollama_heal_stuck=False)
    async with serve(create_app(settings)) as url:
        await cancel_and_hang(client, url, simulator)
        first = await see(STREAMED_NDJSON.ask(client, url))
        assert (first.status, first.code) == (503, "model_stuck")
        assert [report["state"] for report in await stuck_models(client, url)] == ["stuck"]
        probe = asyncio.create_task(see(STREAMED_NDJSON.ask(client, url)))
        await simulator.received("/api/generate", 3)
        await refused(client, url)
        assert (await probe).code == "model_stuck"
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

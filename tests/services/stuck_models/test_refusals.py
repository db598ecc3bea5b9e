"""Requests to a model that hangs and may not be unloaded, or not yet, are refused until one gets through."""

import asyncio
import time

import aiohttp
import pytest

from main import create_app
from services.stuck_models.healing import HEAL_INTERVAL_SECONDS
from simulator import Fault, Simulator
from tests.conftest import MakeSettings
from tests.kinds import (
    NATIVE_STREAM,
    PATIENCE_SECONDS,
    STREAMED_NDJSON,
    STREAMED_SSE,
    WHOLE,
    see,
    until,
)
from tests.services.stuck_models.hanging import (
    MODEL,
    STUCK_AFTER,
    UNLOAD,
    cancel_and_hang,
    refused,
    stuck_models,
    unloads,
    warnings_of,
)
from tests.serving import serve


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
    assert f"model {MODEL} responds again" in caplog.text
    seen_all = await asyncio.gather(*(see(WHOLE.ask(client, url)) for _ in range(5)))
    assert [one.status for one in seen_all] == [200] * 5
    assert await stuck_models(client, url) == []


async def test_a_second_hang_within_a_minute_is_not_healed_but_refused(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    await cancel_and_hang(client, url, simulator)
    began_at = time.time()
    assert (await see(WHOLE.ask(client, url))).status == 200
    await cancel_and_hang(client, url, simulator)
    for kind in (STREAMED_NDJSON, WHOLE):
        seen = await asyncio.gather(*(see(kind.ask(client, url)) for _ in range(3)))
        assert [(one.status, one.code) for one in seen] == [(503, "model_stuck")] * 3
    assert len(unloads(simulator)) == 1
    [report] = await stuck_models(client, url)
    assert (report["state"], report["reloads"]) == ("stuck", 1)
    assert time.time() + int(seen[0].headers["Retry-After"]) > began_at + HEAL_INTERVAL_SECONDS + 1.9


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


async def test_a_model_that_may_not_be_unloaded_yet_is_unloaded_once_it_may(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cancel_and_hang(client, url, simulator)
    assert warnings_of(await see(WHOLE.ask(client, url))) == ["model_reloaded"]
    await cancel_and_hang(client, url, simulator)
    assert (await see(WHOLE.ask(client, url))).code == "model_stuck"
    calls = len(simulator.calls_to("/api/generate"))
    monkeypatch.setattr("services.stuck_models.healing.HEAL_INTERVAL_SECONDS", 0)  # a minute has passed
    await until(lambda: len(unloads(simulator)) == 2)
    assert len(simulator.calls_to("/api/generate")) == calls + 1
    assert warnings_of(await see(WHOLE.ask(client, url))) == []
    [report] = await stuck_models(client, url)
    assert (report["state"], report["reloads"]) == ("reloaded", 2)


async def test_a_stuck_model_that_somebody_else_unloads_is_not_refused_any_more(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cancel_and_hang(client, url, simulator)
    assert warnings_of(await see(WHOLE.ask(client, url))) == ["model_reloaded"]
    await cancel_and_hang(client, url, simulator)
    assert (await see(WHOLE.ask(client, url))).code == "model_stuck"
    async with client.post(f"{simulator.url}/api/generate", json=UNLOAD) as response:
        assert response.status == 200
    monkeypatch.setattr("services.stuck_models.healing.HEAL_INTERVAL_SECONDS", 0)  # a minute has passed
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await stuck_models(client, url))[0]["state"] != "reloaded":
            await asyncio.sleep(0.05)
    assert len(unloads(simulator)) == 2
    assert (await see(WHOLE.ask(client, url))).status == 200

"""Errors of Ollama's own API: Ollama's are passed on, the service's are `{"error": …}`, and streams are closed."""

import asyncio
import json
import logging
from pathlib import Path

import aiohttp
import pytest

from main import create_app
from services.ollama_service import OllamaService
from simulator import Fault, Simulator
from tests.api import call, get
from tests.conftest import MakeSettings
from tests.kinds import NATIVE_STREAM, NATIVE_WHOLE, WHOLE, Kind, load_is, nothing_is_left, see
from tests.routers.native.requests import TEXT, error_in, every_kind
from tests.service_process import run_service
from tests.serving import serve


async def test_an_error_line_in_a_stream_is_passed_on_and_counted(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    simulator.fault(Fault(error_after=2, message=TEXT))
    async with serve(create_app(make_settings())) as url:
        seen = await see(NATIVE_STREAM.ask(client, url))
        assert (seen.status, seen.cut) == (200, False)
        assert json.loads(seen.body.splitlines()[-1]) == {"error": TEXT}
        health = (await get(client, f"{url}/health")).json()["ollama"]
    assert health["last_failure_code"] == "ollama_error"
    assert health["last_success_at"] is None
    assert any("path=/api/chat status=200 outcome=failed error=ollama_error" in line for line in caplog.messages)


async def test_a_stream_that_ends_early_is_passed_on_unchanged(
    simulator: Simulator, client: aiohttp.ClientSession, url: str
) -> None:
    simulator.fault(Fault(end_after=2))
    seen = await see(NATIVE_STREAM.ask(client, url))
    assert (seen.cut, len(seen.body.splitlines())) == (False, 2)


@every_kind
async def test_outcomes_are_reported_in_health(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    simulator.fault(Fault(status=400, message="no"))
    simulator.fault(Fault(status=404, message="no such model"))
    for _ in range(2):
        await see(kind.ask(client, url))
    health = (await get(client, f"{url}/health")).json()["ollama"]
    assert (health["last_success_at"], health["last_failure_at"]) == (None, None)
    await see(kind.ask(client, url))
    assert (await get(client, f"{url}/health")).json()["ollama"]["last_success_at"]
    simulator.fault(Fault(status=500))
    await see(kind.ask(client, url))
    assert (await get(client, f"{url}/health")).json()["ollama"]["last_failure_code"] == "ollama_error"


@every_kind
async def test_a_dead_connection_is_replaced_once(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    assert (await see(kind.ask(client, url))).status == 200
    simulator.fault(Fault(drop_reused=True))
    assert (await see(kind.ask(client, url))).status == 200
    assert [call.outcome for call in simulator.calls_to(kind.upstream)] == ["completed", "reset", "completed"]


@every_kind
async def test_requests_are_rejected_at_once_during_the_cooldown(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    async with serve(create_app(make_settings(ollama_down_cooldown=30))) as url:
        await simulator.stop()
        for words in ("could not be reached", "a moment ago"):
            seen = await see(kind.ask(client, url))
            assert seen.status == 503
            assert words in error_in(seen)
            assert int(seen.headers["Retry-After"]) >= 1
        assert "a moment ago" in (await see(WHOLE.ask(client, url))).json["detail"]
        refused = await get(client, f"{url}/api/tags")
        assert (refused.status, list(refused.json())) == (503, ["error"])
        await simulator.start()
        assert (await get(client, f"{url}/api/version")).status == 200  # a success ends the cooldown
        assert (await see(kind.ask(client, url))).status == 200


@every_kind
async def test_all_requests_share_the_queue(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    simulator.fault(Fault(path="/api/generate", hang=True))
    settings = make_settings(ollama_max_connections=1, ollama_queue_size=1, ollama_queue_timeout=0.2)
    async with serve(create_app(settings)) as url:
        running = asyncio.create_task(see(WHOLE.ask(client, url)))
        await simulator.received("/api/generate")
        waiting = asyncio.create_task(see(kind.ask(client, url)))
        await load_is(client, url, running=1, queued=1)
        refused = await see(kind.ask(client, url))
        assert refused.status == 503
        assert "OLLAMA_QUEUE_SIZE" in error_in(refused)
        assert int(refused.headers["Retry-After"]) >= 1
        assert "OLLAMA_QUEUE_TIMEOUT" in error_in(await waiting)
        for path in ("/api/tags", "/api/ps", "/api/version"):
            assert (await get(client, url + path)).status == 200
        assert (await call(client, "POST", f"{url}/api/show", json={"model": "llama3.1"})).status == 200
        running.cancel()
        await nothing_is_left(client, url, simulator)
        assert (await see(kind.ask(client, url))).status == 200


async def test_a_slow_reader_holds_no_slot_after_a_complete_response(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.fault(Fault(body=b"x" * 30_000_000, content_type="application/json"))
    app = create_app(make_settings(ollama_max_connections=1))
    async with serve(app) as url, NATIVE_WHOLE.ask(client, url) as response:
        await load_is(client, url, running=0, queued=0)
        assert len(await response.read()) == 30_000_000


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/show"), ("GET", "/api/tags"), ("GET", "/api/ps")])
async def test_requests_without_a_model_use_the_health_timeout(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, method: str, path: str
) -> None:
    async with serve(create_app(make_settings(ollama_health_timeout=0.2))) as url:
        await simulator.received("/api/tags")
        simulator.fault(Fault(path=path, hang=True))
        answer = await call(client, method, url + path)
        assert answer.status == 504
        assert "OLLAMA_HEALTH_TIMEOUT" in answer.json()["error"]
        simulator.fault(Fault(path=path, status=500, message=TEXT))
        answer = await call(client, method, url + path)
        assert (answer.status, answer.json()) == (500, {"error": TEXT})


async def test_a_404_of_ollama_invalidates_the_model_list(
    simulator: Simulator, client: aiohttp.ClientSession, url: str
) -> None:
    await get(client, f"{url}/api/ollama/models")
    simulator.remove("llama3.1")
    assert (await see(NATIVE_WHOLE.ask(client, url))).status == 404
    names = [model["name"] for model in (await get(client, f"{url}/api/ollama/models")).json()["models"]]
    assert "llama3.1" not in names


async def test_a_bug_has_the_same_error_format(
    make_settings: MakeSettings, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(OllamaService, "relay", fail)
    async with serve(create_app(make_settings())) as url:
        seen = await see(NATIVE_WHOLE.ask(client, url))
        assert seen.status == 500
        assert error_in(seen) == "The service failed; see its log for the reason."


async def test_shutdown_closes_streams_and_rejects_new_requests(
    simulator: Simulator, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    simulator.seconds_per_token = 0.01
    simulator.fault(Fault(endless=True, times=None))
    async with run_service(simulator.url, tmp_path, shutdown_grace=1) as service:
        asking = [asyncio.create_task(see(kind.ask(client, service.url))) for kind in (NATIVE_STREAM, NATIVE_WHOLE)]
        await simulator.received("/api/chat", count=2)
        await asyncio.sleep(0.1)
        service.terminate()
        async with asyncio.timeout(1):
            while (await get(client, f"{service.url}/health/ready")).status != 503:
                await asyncio.sleep(0.01)
        refused = await see(NATIVE_WHOLE.ask(client, service.url))
        assert refused.status == 503
        assert "is shutting down" in error_in(refused)
        stream, whole = await asyncio.gather(*asking)
        assert (stream.status, stream.cut) == (200, True)
        assert whole.status == 503
        assert "grace period" in error_in(whole)
        assert await service.exit_code(5) == 0
    assert {call.outcome for call in simulator.calls_to("/api/chat")} == {"client_gone"}


async def test_the_log_line(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    simulator.fault(Fault(status=503))
    await see(NATIVE_STREAM.ask(client, url))
    (line,) = [line for line in caplog.messages if "path=/api/chat" in line]
    assert "status=200 outcome=whole" in line
    assert "attempts=2" in line
    assert "queue_ms=" in line
    assert "error=" not in line

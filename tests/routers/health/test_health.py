import logging
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.api import get, serve_quietly
from tests.conftest import MakeSettings
from tests.serving import serve


async def test_healthy(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    answer = await get(client, f"{url}/health")
    document = answer.json()
    assert document.pop("build") == (await get(client, f"{url}/version")).json()
    checked_at, latency = document.pop("checked_at"), document["ollama"].pop("latency_ms")
    assert answer.status == 200
    assert document == {
        "status": "healthy",
        "services": {"ollama": "up"},
        "ollama": {
            "version": "0.0.0-simulator",
            "models": {"gpt-oss": True, "llama3.1": True, "nomic-embed-text": True},
            "running": 0,
            "queued": 0,
            "last_success_at": None,
            "last_failure_at": None,
            "last_failure_code": None,
            "stuck_models": [],
        },
    }
    assert 0 < latency < 5000
    assert abs(datetime.fromisoformat(checked_at) - datetime.now(UTC)) < timedelta(seconds=10)
    assert simulator.loads == {}
    assert answer.headers["X-Request-ID"]


async def test_a_missing_model_is_reported_and_healthy(
    client: aiohttp.ClientSession, make_settings: MakeSettings
) -> None:
    settings = make_settings(default_model="GPT-OSS:latest", quality_model="unknown:70b")
    async with serve(create_app(settings)) as url:
        answer = await get(client, f"{url}/health")
    assert (answer.status, answer.json()["status"]) == (200, "healthy")
    assert answer.json()["ollama"]["models"] == {"GPT-OSS:latest": True, "unknown:70b": False, "nomic-embed-text": True}


async def test_degraded_while_ollama_is_down_and_healthy_again_after(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator
) -> None:
    async with serve_quietly(make_settings(), simulator) as url:
        await simulator.stop()
        gone, not_ready = await get(client, f"{url}/health"), await get(client, f"{url}/health/ready")
        live = await get(client, f"{url}/health/live")
        await simulator.start()
        back, ready = await get(client, f"{url}/health"), await get(client, f"{url}/health/ready")
    document = gone.json()
    assert (gone.status, document["status"], document["services"]) == (503, "degraded", {"ollama": "down"})
    assert (document["ollama"]["version"], document["ollama"]["latency_ms"]) == (None, None)
    assert set(document["ollama"]["models"].values()) == {None}
    assert (not_ready.status, live.status) == (503, 200)
    assert (back.status, back.json()["status"], ready.status) == (200, "healthy", 200)


@pytest.mark.parametrize(
    ("body", "status"), [(b"<html>proxy</html>", 200), (b'{"hello": 1}', 200), (b"[]", 200), (b"{}", 500)]
)
async def test_a_server_that_is_not_ollama_is_down(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator, body: bytes, status: int
) -> None:
    async with serve_quietly(make_settings(), simulator) as url:
        simulator.fault(Fault(path="/api/version", body=body, status=status))
        answer = await get(client, f"{url}/health")
    assert (answer.status, answer.json()["services"]) == (503, {"ollama": "down"})


async def test_live_sends_nothing_upstream(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator
) -> None:
    async with serve_quietly(make_settings(), simulator) as url:
        answer = await get(client, f"{url}/health/live")
        assert (answer.status, answer.json()) == (200, {"alive": True})
        assert simulator.calls == []


async def test_ready_is_small(client: aiohttp.ClientSession, url: str) -> None:
    answer = await get(client, f"{url}/health/ready")
    assert (answer.status, answer.json()) == (200, {"ready": True})


@pytest.mark.parametrize("is_up", [True, False])
async def test_a_registered_component_is_reported_in_its_own_words(
    client: aiohttp.ClientSession, make_settings: MakeSettings, is_up: bool
) -> None:
    async def check() -> bool:
        return is_up

    app = create_app(make_settings())
    app.state.component_checks.register("crewai_agents", check, up="initialized", down="not_initialized")
    app.state.component_checks.register("vectors", check)
    async with serve(app) as url:
        answer, ready = await get(client, f"{url}/health"), await get(client, f"{url}/health/ready")
    words = ("initialized", "up") if is_up else ("not_initialized", "down")
    assert answer.json()["services"] == {"ollama": "up", "crewai_agents": words[0], "vectors": words[1]}
    assert answer.json()["status"] == ("healthy" if is_up else "degraded")
    assert answer.status == (200 if is_up else 503)
    assert ready.status == 200


async def test_the_reason_of_a_failed_probe_is_logged_once(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    simulator: Simulator,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with serve(create_app(make_settings())) as url:
        assert (await get(client, f"{url}/health")).status == 200
        await simulator.stop()
        for _ in range(3):
            assert (await get(client, f"{url}/health/ready")).status == 503
        await simulator.start()
        assert (await get(client, f"{url}/health/ready")).status == 200
    told = [line for line in caplog.messages if line.startswith("the health probe")]
    reason = "Ollama could not be reached. (network: Connection refused)"
    assert told == [f"the health probe of Ollama failed: {reason}", "the health probe of Ollama succeeds again"]


async def test_readiness_may_depend_on_the_process_alone(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    await simulator.stop()
    async with serve(create_app(make_settings(readiness_requires_ollama=False))) as url:
        answer = await get(client, f"{url}/health/ready")
        assert (answer.status, answer.json()) == (200, {"ready": True})
        assert (await get(client, f"{url}/health")).status == 503

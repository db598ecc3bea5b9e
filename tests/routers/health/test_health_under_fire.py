"""`/health` responds in time under load and while Ollama hangs."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.conftest import MakeSettings
from tests.kinds import KINDS, WHOLE, load_is, nothing_is_left, see
from tests.serving import serve

LIMIT = 0.2
SLACK = 4  # seconds, for a busy machine; the setting defaults to 5 s


async def probe(client: aiohttp.ClientSession, url: str, path: str = "/health") -> tuple[int, Any]:
    started = time.monotonic()
    async with client.get(url + path) as response:
        answer = response.status, await response.json()
    assert time.monotonic() - started < LIMIT + SLACK
    return answer


@asynccontextmanager
async def deaf_server() -> AsyncIterator[str]:
    """Accept connections and send nothing."""
    ended = asyncio.Event()

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ended.set()


async def test_health_responds_while_all_slots_and_the_queue_are_full(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.fault(Fault(hang=True, times=None))
    settings = make_settings(ollama_max_connections=4, ollama_queue_size=8, ollama_health_timeout=LIMIT)
    async with serve(create_app(settings)) as url:
        tasks = [asyncio.create_task(see(KINDS[n % len(KINDS)].ask(client, url))) for n in range(20)]
        await load_is(client, url, running=4, queued=8)
        status, answer = await probe(client, url)
        assert (status, answer["status"], answer["services"]) == (200, "healthy", {"ollama": "up"})
        assert (answer["ollama"]["running"], answer["ollama"]["queued"]) == (4, 8)
        assert await probe(client, url, "/health/ready") == (200, {"ready": True})
        for task in tasks:
            task.cancel()
        await nothing_is_left(client, url, simulator)


async def test_health_responds_while_ollama_accepts_and_sends_nothing(
    make_settings: MakeSettings, client: aiohttp.ClientSession
) -> None:
    async with (
        deaf_server() as upstream,
        serve(create_app(make_settings(ollama_base_url=upstream, ollama_health_timeout=LIMIT))) as url,
    ):
        for _ in range(2):
            status, answer = await probe(client, url)
            assert (status, answer["status"], answer["services"]) == (503, "degraded", {"ollama": "down"})
            assert answer["ollama"]["version"] is None
            assert set(answer["ollama"]["models"].values()) == {None}
            assert await probe(client, url, "/health/ready") == (503, {"ready": False})
            assert await probe(client, url, "/health/live") == (200, {"alive": True})


async def test_health_responds_while_requests_hang(make_settings: MakeSettings, client: aiohttp.ClientSession) -> None:
    settings: dict[str, Any] = {"ollama_health_timeout": LIMIT, "ollama_max_connections": 2, "ollama_queue_size": 2}
    async with deaf_server() as upstream, serve(create_app(make_settings(ollama_base_url=upstream, **settings))) as url:
        tasks = [asyncio.create_task(see(WHOLE.ask(client, url))) for _ in range(6)]
        await asyncio.sleep(LIMIT)
        assert (await probe(client, url))[0] == 503
        for task in tasks:
            task.cancel()
        await load_is(client, url, running=0, queued=0)


async def test_health_responds_while_ollama_is_down_and_recovers(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    async with serve(create_app(make_settings(ollama_health_timeout=LIMIT))) as url:
        for _ in range(3):
            assert (await probe(client, url))[0] == 200
            assert await probe(client, url, "/health/ready") == (200, {"ready": True})
            await simulator.stop()
            status, answer = await probe(client, url)
            assert (status, answer["status"]) == (503, "degraded")
            assert answer["ollama"]["models"]["gpt-oss"] is True  # from the cached list
            assert await probe(client, url, "/health/ready") == (503, {"ready": False})
            await simulator.start()


async def test_concurrent_probes_share_one_call(make_settings: MakeSettings, simulator: Simulator) -> None:
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client,
        serve(create_app(make_settings(ollama_health_timeout=2))) as url,
    ):
        await probe(client, url)
        simulator.fault(Fault(path="/api/version", delay_seconds=0.4, times=None))
        before = len(simulator.calls)
        answers = await asyncio.gather(
            *(probe(client, url, "/health") for _ in range(50)),
            *(probe(client, url, "/health/ready") for _ in range(50)),
        )
        assert {status for status, _ in answers} == {200}
        assert [call.path for call in simulator.calls[before:]] == ["/api/version"]


async def test_a_disconnected_probe_does_not_affect_the_others(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    async with serve(create_app(make_settings(ollama_health_timeout=2))) as url:
        await probe(client, url)
        simulator.fault(Fault(path="/api/version", delay_seconds=0.2))
        before = len(simulator.calls_to("/api/version"))
        leaver, stayer = (asyncio.create_task(probe(client, url)) for _ in range(2))
        await simulator.received("/api/version", count=before + 1)
        leaver.cancel()
        assert (await stayer)[0] == 200
        assert len(simulator.calls_to("/api/version")) == before + 1


async def test_probes_load_no_model_and_use_no_slot(
    simulator: Simulator, client: aiohttp.ClientSession, url: str
) -> None:
    for path in ("/health", "/health/ready", "/health/live"):
        assert (await probe(client, url, path))[0] == 200
    assert {call.path for call in simulator.calls} <= {"/api/version", "/api/tags"}
    assert simulator.loads == {}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(path="/api/version", status=500),
        Fault(path="/api/version", status=404, body=b"<html>not here</html>"),
        Fault(path="/api/version", body=b"<html>a proxy</html>"),
        Fault(path="/api/version", body=b'{"hello": "world"}', content_type="application/json"),
        Fault(path="/api/version", body=b"[]", content_type="application/json"),
        Fault(path="/api/version", reset_after=0, times=2),  # a GET on a reused connection is retried
        Fault(path="/api/version", truncate_body=True),
        Fault(path="/api/version", garbage_status_line=True),
        Fault(path="/api/version", stall_after=0),
    ],
    ids=["500", "404", "html", "other-json", "array", "reset", "cut", "garbage", "stall"],
)
async def test_an_invalid_version_response_is_down(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, fault: Fault
) -> None:
    async with serve(create_app(make_settings(ollama_health_timeout=LIMIT))) as url:
        await probe(client, url)
        simulator.fault(fault)
        status, answer = await probe(client, url)
        assert (status, answer["services"]) == (503, {"ollama": "down"})
        assert (await probe(client, url))[0] == 200


async def test_an_unreadable_model_list_is_healthy(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.fault(Fault(path="/api/tags", hang=True, times=None))
    async with serve(create_app(make_settings(ollama_health_timeout=LIMIT))) as url:
        status, answer = await probe(client, url)
        assert (status, answer["services"]) == (200, {"ollama": "up"})
        assert set(answer["ollama"]["models"].values()) == {None}


async def test_a_missing_model_is_healthy(simulator: Simulator, client: aiohttp.ClientSession, url: str) -> None:
    simulator.remove("llama3.1")
    await see(client.get(f"{url}/api/ollama/models?force_refresh=true"))
    status, answer = await probe(client, url)
    assert status == 200
    assert answer["ollama"]["models"] == {"gpt-oss": True, "llama3.1": False, "nomic-embed-text": True}

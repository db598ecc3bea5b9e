"""An unreachable Ollama: immediate rejections, one probe, and recovery."""

import asyncio
import socket
import time
from collections.abc import Iterator

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.conftest import MakeSettings
from tests.kinds import (
    EMBEDDINGS,
    KINDS,
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
from tests.serving import serve

COOLDOWN = 0.4
REFUSED_AT_ONCE = "a moment ago"
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def check_unavailable(seen: Seen, *, at_once: bool | None = None) -> None:
    assert (seen.status, seen.code) == (503, "ollama_unavailable")
    assert int(seen.headers["Retry-After"]) >= 1
    assert seen.json["retryable"] is True
    if at_once is not None:
        assert (REFUSED_AT_ONCE in seen.json["detail"]) is at_once


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port whose backlog is full, so that connecting times out."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port: int = listener.getsockname()[1]
    fillers = []
    for _ in range(3):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
        fillers.append(filler)
    yield port
    for one in (*fillers, listener):
        one.close()


@every_kind
async def test_after_all_attempts_fail_requests_are_rejected_immediately(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    async with serve(create_app(make_settings(ollama_down_cooldown=30, ollama_retry_backoff=0.05))) as url:
        await simulator.stop()
        started = time.monotonic()
        check_unavailable(await see(kind.ask(client, url)), at_once=False)
        assert time.monotonic() - started > 0.1  # two pauses of 0.05 s and more
        await simulator.start()
        calls = len(simulator.calls)
        for other in KINDS:
            started = time.monotonic()
            seen = await see(other.ask(client, url))
            check_unavailable(seen, at_once=True)
            assert 25 <= int(seen.headers["Retry-After"]) <= 30
            assert time.monotonic() - started < PATIENCE_SECONDS
        assert len(simulator.calls) == calls


async def test_a_server_that_recovers_between_two_attempts_is_not_down(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    async with serve(create_app(make_settings(ollama_retry_backoff=0.2))) as url:
        await simulator.stop()
        asking = asyncio.create_task(see(WHOLE.ask(client, url)))
        await asyncio.sleep(0.1)
        await simulator.start()
        assert (await asking).status == 200
        assert (await see(WHOLE.ask(client, url))).status == 200


@pytest.mark.parametrize("kind", [WHOLE, STREAMED_NDJSON, EMBEDDINGS], ids=lambda kind: kind.name)
async def test_after_the_cooldown_one_probe_passes_while_others_are_rejected(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    async with serve(create_app(make_settings(ollama_down_cooldown=COOLDOWN))) as url:
        assert (await see(kind.ask(client, url))).status == 200  # the list is known
        calls = len(simulator.calls_to(kind.upstream))
        await simulator.stop()
        check_unavailable(await see(kind.ask(client, url)), at_once=False)
        await simulator.start()
        await asyncio.sleep(COOLDOWN)
        others_refused = asyncio.Event()
        simulator.fault(Fault(until=others_refused))
        asked = [asyncio.create_task(see(kind.ask(client, url))) for _ in range(10)]
        await until(lambda: sum(one.done() for one in asked) == 9)
        others_refused.set()
        seen = await asyncio.gather(*asked)
        assert sorted(one.status for one in seen) == [200] + [503] * 9
        for one in seen:
            if one.status == 503:
                check_unavailable(one, at_once=True)
        assert len(simulator.calls_to(kind.upstream)) == calls + 1
        seen = await asyncio.gather(*(see(kind.ask(client, url)) for _ in range(10)))
        assert [one.status for one in seen] == [200] * 10
        await nothing_is_left(client, url, simulator)


async def test_a_probe_whose_client_disconnects_lets_the_next_request_probe(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    async with serve(create_app(make_settings(ollama_down_cooldown=COOLDOWN))) as url:
        await see(WHOLE.ask(client, url))
        await simulator.stop()
        await see(WHOLE.ask(client, url))
        await simulator.start()
        await asyncio.sleep(COOLDOWN)
        simulator.fault(Fault(hang=True))
        probe = asyncio.create_task(see(WHOLE.ask(client, url)))
        await simulator.received("/api/generate", count=2)
        check_unavailable(await see(WHOLE.ask(client, url)), at_once=True)
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await see(WHOLE.ask(client, url))).status != 200:
                await asyncio.sleep(0.01)


async def test_a_failed_probe_restarts_the_cooldown(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    async with serve(create_app(make_settings(ollama_down_cooldown=1))) as url:
        await simulator.stop()
        check_unavailable(await see(WHOLE.ask(client, url)), at_once=False)
        await asyncio.sleep(1)
        check_unavailable(await see(WHOLE.ask(client, url)), at_once=False)
        check_unavailable(await see(WHOLE.ask(client, url)), at_once=True)
        await simulator.start()
        await asyncio.sleep(1)
        assert (await see(WHOLE.ask(client, url))).status == 200


@pytest.mark.parametrize("probe", ["/health", "/health/ready"])
async def test_a_health_check_closes_the_circuit(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, probe: str
) -> None:
    async with serve(create_app(make_settings(ollama_down_cooldown=60))) as url:
        await simulator.stop()
        await see(WHOLE.ask(client, url))
        check_unavailable(await see(WHOLE.ask(client, url)), at_once=True)
        await simulator.start()
        async with client.get(f"{url}{probe}") as response:
            assert response.status == 200
        assert (await see(WHOLE.ask(client, url))).status == 200


async def test_a_failed_health_check_does_not_open_the_circuit(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    async with serve(create_app(make_settings(ollama_down_cooldown=60))) as url:
        await see(client.get(f"{url}/health"))
        await simulator.stop()
        assert (await see(client.get(f"{url}/health"))).status == 503
        await simulator.start()
        assert (await see(WHOLE.ask(client, url))).status == 200


async def test_a_connection_that_cannot_be_opened_in_time_counts_as_down(
    make_settings: MakeSettings, client: aiohttp.ClientSession, silent_port: int
) -> None:
    settings = make_settings(
        ollama_base_url=f"http://127.0.0.1:{silent_port}", ollama_connect_timeout=0.1, ollama_down_cooldown=30
    )
    async with serve(create_app(settings)) as url:
        seen = await see(WHOLE.ask(client, url))
        assert (seen.status, seen.code) == (504, "timeout")
        assert "OLLAMA_CONNECT_TIMEOUT" in seen.json["detail"]
        check_unavailable(await see(WHOLE.ask(client, url)), at_once=True)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(hang=True, times=None),
        Fault(status=500, times=None),
        Fault(status=400, message="no", times=None),
        Fault(status=503, message="busy", times=None),
        Fault(reset_after=0, times=None),
        Fault(garbage_status_line=True, times=None),
        Fault(truncate_body=True, times=None),
    ],
    ids=["timeout", "500", "400", "503", "reset", "garbage", "cut"],
)
async def test_no_other_failure_opens_the_circuit(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, fault: Fault
) -> None:
    request_timeout = 0.5 if fault.hang else 60
    settings = make_settings(ollama_request_timeout=request_timeout, ollama_down_cooldown=60)
    async with serve(create_app(settings)) as url:
        simulator.fault(fault)
        for kind in (WHOLE, STREAMED_SSE, EMBEDDINGS, WHOLE, STREAMED_NDJSON, EMBEDDINGS):
            seen = await see(kind.ask(client, url))
            assert seen.status != 200 or seen.events[-1]["type"] == "error"
        simulator.clear_faults()
        assert (await see(WHOLE.ask(client, url))).status == 200


async def test_queued_requests_are_rejected_too(
    make_settings: MakeSettings,
    simulator: Simulator,
    client: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = make_settings(ollama_max_connections=1, ollama_down_cooldown=30, ollama_retry_backoff=0.1)
    async with serve(create_app(settings)) as url:
        await see(WHOLE.ask(client, url))
        await simulator.stop()
        seen = await asyncio.gather(*(see(WHOLE.ask(client, url)) for _ in range(10)))
        for one in seen:
            check_unavailable(one)
    assert caplog.text.count("attempt 1 failed") == 1  # not all ten in turn


async def test_an_address_that_does_not_resolve_is_unavailable(
    make_settings: MakeSettings, client: aiohttp.ClientSession
) -> None:
    async with serve(create_app(make_settings(ollama_base_url="http://no-such-host.invalid:1"))) as url:
        seen = await see(WHOLE.ask(client, url))
        check_unavailable(seen)
        assert "no-such-host" not in seen.body.decode()


async def test_generation_continues_after_restarts(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    async with serve(create_app(make_settings(ollama_down_cooldown=0.05))) as url:
        for _ in range(5):
            assert (await see(WHOLE.ask(client, url))).status == 200
            await simulator.stop()
            check_unavailable(await see(STREAMED_SSE.ask(client, url)))
            await simulator.start()
            await asyncio.sleep(0.06)
            assert (await see(STREAMED_SSE.ask(client, url))).status == 200
        await nothing_is_left(client, url, simulator)


async def test_a_model_list_closes_the_circuit_too(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    async with serve(create_app(make_settings(ollama_down_cooldown=30))) as url:
        await simulator.stop()
        check_unavailable(await see(WHOLE.ask(client, url)))
        await simulator.start()
        async with client.get(f"{url}/api/ollama/models", params={"force_refresh": "true"}) as response:
            assert response.status == 200
        assert (await see(WHOLE.ask(client, url))).status == 200

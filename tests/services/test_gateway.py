"""Several Ollama servers behind HAProxy: its responses, and the headers it needs."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

import aiohttp
import pytest

from services.ollama.errors import GatewayQueueTimeoutError
from services.ollama_service import OllamaService
from simulator import Fault, Simulator
from tests.api import get, post, problem_in
from tests.conftest import MakeSettings
from tests.haproxy import Gateway, needs_haproxy, run_haproxy
from tests.kinds import (
    EMBEDDINGS,
    NATIVE_STREAM,
    NATIVE_WHOLE,
    PATIENCE_SECONDS,
    PROMPT,
    STREAMED_SSE,
    WHOLE,
    nothing_is_left,
    see,
    until,
)
from tests.services.gateway import behind, generations

pytestmark = needs_haproxy

KINDS = [WHOLE, STREAMED_SSE, EMBEDDINGS]
NATIVES = [NATIVE_WHOLE, NATIVE_STREAM]


@pytest.fixture
async def second() -> AsyncIterator[Simulator]:
    """A second server, with the same models."""
    async with Simulator() as simulator:
        yield simulator


async def test_without_any_server_ollama_is_unavailable_and_counts_as_down(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    async with behind(make_settings, simulator, ollama_down_cooldown=0.5) as it:
        await simulator.stop()
        for kind in KINDS:
            before = await it.gateway.requests()
            seen = await see(kind.ask(it.client, it.url))
            assert (seen.status, seen.code, seen.json["retryable"]) == (503, "ollama_unavailable", True)
            assert int(seen.headers["Retry-After"]) >= 1
            await it.gateway.has_received(before + 3)
            seen = await see(kind.ask(it.client, it.url))
            assert (seen.code, "a moment ago" in seen.json["detail"]) == ("ollama_unavailable", True)
            await it.gateway.has_received(before + 3)
            await asyncio.sleep(0.5)
        health = (await get(it.client, f"{it.url}/health")).json()
        assert (health["status"], health["services"]["ollama"]) == ("degraded", "down")


async def test_without_any_server_ollamas_own_api_says_so(make_settings: MakeSettings, simulator: Simulator) -> None:
    async with behind(make_settings, simulator, ollama_down_cooldown=0.01) as it:
        await simulator.stop()
        tags = it.client.get(f"{it.url}/api/tags")
        for asked in (NATIVE_WHOLE.ask(it.client, it.url), NATIVE_STREAM.ask(it.client, it.url), tags):
            seen = await see(asked)
            assert (seen.status, "reached" in seen.json["error"]) == (503, True)
            assert int(seen.headers["Retry-After"]) >= 1


async def test_what_waited_in_the_gateways_queue_is_busy_and_not_sent_again(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    gateway = {"ollama_num_parallel": 1, "queue_timeout": "200ms"}
    async with behind(make_settings, simulator, gateway=gateway) as it:
        release = asyncio.Event()
        simulator.fault(Fault(until=release))
        running = asyncio.create_task(see(WHOLE.ask(it.client, it.url)))
        await simulator.received("/api/generate")
        for seen in await asyncio.gather(*[see(kind.ask(it.client, it.url)) for kind in KINDS]):
            assert (seen.status, seen.headers["Retry-After"]) == (503, "5")
            assert (seen.code, seen.json["retryable"]) == ("ollama_busy", True)
        for kind in NATIVES:
            seen = await see(kind.ask(it.client, it.url))
            assert (seen.status, seen.headers["Retry-After"]) == (503, "5")
            assert seen.json == {"error": "no Ollama server took the request"}
        release.set()
        assert (await running).status == 200
        await it.gateway.has_received(1 + len(KINDS) + len(NATIVES))
        assert len(generations(simulator)) == 1  # the others never reached a server
        await nothing_is_left(it.client, it.url, simulator)


async def test_a_request_in_the_gateways_queue_does_not_make_its_model_stuck(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    gateway = {"ollama_num_parallel": 1, "queue_timeout": "10s"}
    async with behind(make_settings, simulator, gateway=gateway, ollama_stuck_after=0.1) as it:
        simulator.seconds_per_token = 0.05
        async with STREAMED_SSE.ask(it.client, it.url) as stream:
            await stream.content.readany()
            stream.close()
        simulator.seconds_per_token = 0
        await until(lambda: simulator.open_calls == 0)
        release = asyncio.Event()
        simulator.fault(Fault(until=release))
        other = asyncio.create_task(see(it.client.post(f"{it.gateway.url}/api/generate", json=PROMPT)))
        await simulator.received("/api/generate", 2)
        waiting = asyncio.create_task(see(WHOLE.ask(it.client, it.url)))
        await asyncio.sleep(1)
        assert not waiting.done()
        release.set()
        assert ((await waiting).status, (await waiting).json["warnings"]) == (200, [])
        assert (await other).status == 200
        assert len(generations(simulator)) == 3


async def test_behind_a_gateway_complete_responses_are_not_streamed(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    async with behind(make_settings, simulator) as it:
        simulator.fault(Fault(endless=True))
        async with STREAMED_SSE.ask(it.client, it.url) as stream:
            await stream.content.readany()
            for kind in (WHOLE, NATIVE_WHOLE):
                assert (await see(kind.ask(it.client, it.url))).status == 200
                assert generations(simulator)[-1].body["stream"] is False
            stream.close()
        await until(lambda: simulator.open_calls == 0)  # one that was cut off makes no suspicion either
        assert (await see(WHOLE.ask(it.client, it.url, model="gpt-oss"))).status == 200
        assert generations(simulator)[-1].body["stream"] is False


async def test_the_words_of_a_busy_server_are_still_those_of_ollama(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    async with behind(make_settings, simulator) as it:
        simulator.fault(Fault(status=503, message="server busy", times=None))
        document = problem_in(await post(it.client, it.url, "generate", PROMPT), "ollama_busy")
        assert "server busy" in document["detail"]
        assert len(generations(simulator)) == 3


async def test_a_dead_server_is_left_out_and_costs_nobody_an_answer(
    make_settings: MakeSettings, simulator: Simulator, second: Simulator
) -> None:
    async with behind(make_settings, simulator, second) as it:
        await simulator.stop()
        seen = await asyncio.gather(*[see(WHOLE.ask(it.client, it.url)) for _ in range(8)])
        assert [one.status for one in seen] == [200] * 8
        assert {one.headers["X-Served-By"] for one in seen} == {"ollama2"}


async def test_by_model_each_model_stays_on_one_server(
    make_settings: MakeSettings, simulator: Simulator, second: Simulator
) -> None:
    for server in (simulator, second):
        for number in range(8):
            server.install(f"model{number}", ["completion"])
    gateway = {"balance": "by-model"}
    async with behind(make_settings, simulator, second, gateway=gateway, upstream_model_header="X-Model") as it:
        servers: dict[str, set[str]] = {}
        for number in [*range(8), *range(8)]:
            seen = await see(WHOLE.ask(it.client, it.url, model=f"model{number}"))
            assert seen.headers["X-Model"] == f"model{number}"
            servers.setdefault(f"model{number}", set()).add(seen.headers["X-Served-By"])
        assert all(len(names) == 1 for names in servers.values())
        assert set.union(*servers.values()) == {"ollama1", "ollama2"}
        assert sum((simulator.loads + second.loads).values()) == 8


async def test_who_responded_is_passed_on_and_logged(
    make_settings: MakeSettings, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with behind(make_settings, simulator) as it:
            for kind in [*KINDS, *NATIVES]:
                seen = await see(kind.ask(it.client, it.url))
                assert (seen.status, seen.headers["X-Served-By"]) == (200, "ollama1")
                simulator.fault(Fault(status=500))
                seen = await see(kind.ask(it.client, it.url))
                assert (seen.status, seen.headers["X-Served-By"]) == (500 if kind in NATIVES else 502, "ollama1")
            assert "X-Served-By" not in (await get(it.client, f"{it.url}/health/live")).headers
    lines = [record.getMessage() for record in caplog.records if "method=POST" in record.getMessage()]
    assert ["served_by=ollama1" in line for line in lines] == [True] * 2 * len([*KINDS, *NATIVES])


async def test_the_gateways_own_answer_is_not_taken_for_a_servers(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    async with behind(make_settings, simulator, ollama_retry_backoff=0.5) as it:
        simulator.fault(Fault(status=503))
        asked = asyncio.create_task(see(WHOLE.ask(it.client, it.url)))
        await (await simulator.received("/api/generate")).ended_event.wait()
        await simulator.stop()
        seen = await asked
        assert (seen.status, seen.code) == (503, "ollama_unavailable")
        assert "X-Served-By" not in seen.headers


async def _use_only_the_first(gateway: Gateway) -> None:
    """Send generations to the first server, and other requests to the second unless they ask for the first."""
    await gateway.set_server("generation/ollama2", "weight 0")
    await gateway.set_server("control/ollama1", "weight 0")


async def test_a_failed_load_is_told_by_the_server_that_failed(
    make_settings: MakeSettings, simulator: Simulator, second: Simulator
) -> None:
    async with behind(make_settings, simulator, second) as it, aiohttp.ClientSession() as direct:
        await _use_only_the_first(it.gateway)
        await see(direct.post(f"{second.url}/api/generate", json=PROMPT))  # loaded there
        simulator.fault(Fault(load_failure=True, model="llama3.1", times=None))
        seen = await see(WHOLE.ask(it.client, it.url))
        assert (seen.status, seen.json["model"], seen.json["fallback"]) == (200, "gpt-oss", True)


async def test_another_failure_of_a_loaded_model_is_no_failed_load(
    make_settings: MakeSettings, simulator: Simulator, second: Simulator
) -> None:
    async with behind(make_settings, simulator, second) as it:
        await _use_only_the_first(it.gateway)
        assert (await see(WHOLE.ask(it.client, it.url))).status == 200  # loaded on the first server alone
        simulator.fault(Fault(status=500, message="something else", model="llama3.1", times=None))
        for kind in (WHOLE, STREAMED_SSE, WHOLE):
            assert (await see(kind.ask(it.client, it.url))).code == "ollama_error"
        assert len(simulator.calls_to("/api/ps")) == 3


async def test_where_another_server_answers_a_failed_load_is_not_assumed(
    make_settings: MakeSettings, simulator: Simulator, second: Simulator
) -> None:
    async with behind(make_settings, simulator, second, gateway={"without": "use-server"}) as it:
        await _use_only_the_first(it.gateway)
        simulator.fault(Fault(status=500, message="something else", model="llama3.1", times=None))
        assert (await see(WHOLE.ask(it.client, it.url))).code == "ollama_error"
        assert len(second.calls_to("/api/ps")) == 1


async def test_draining_a_server_loses_nothing(
    make_settings: MakeSettings, simulator: Simulator, second: Simulator
) -> None:
    simulator.seconds_per_token = second.seconds_per_token = 0.005
    async with behind(make_settings, simulator, second) as it:
        first_wave = [asyncio.create_task(see(STREAMED_SSE.ask(it.client, it.url))) for _ in range(4)]
        await until(lambda: len(generations(simulator)) == 2)
        await it.gateway.set_server("generation/ollama1", "state drain")
        second_wave = [asyncio.create_task(see(STREAMED_SSE.ask(it.client, it.url))) for _ in range(6)]
        for seen in await asyncio.gather(*first_wave, *second_wave):
            assert (seen.status, seen.events[-1]["type"]) == (200, "done")
        assert (len(generations(simulator)), len(generations(second))) == (2, 8)


async def test_a_client_that_leaves_the_gateways_queue_never_reaches_a_server(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    async with behind(make_settings, simulator, gateway={"ollama_num_parallel": 1}) as it:
        release = asyncio.Event()
        simulator.fault(Fault(until=release))
        running = asyncio.create_task(see(WHOLE.ask(it.client, it.url)))
        await simulator.received("/api/generate")
        queued = asyncio.create_task(see(STREAMED_SSE.ask(it.client, it.url)))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await it.gateway.statistics("generation"))["qcur"] != "1":
                await asyncio.sleep(0.01)
        queued.cancel()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await it.gateway.statistics("generation"))["qcur"] != "0":
                await asyncio.sleep(0.01)
        release.set()
        assert (await running).status == 200
        assert len(generations(simulator)) == 1


async def test_the_service_in_a_program_understands_the_gateway_too(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    async with run_haproxy([simulator.url], ollama_num_parallel=1, queue_timeout="200ms") as gateway:
        service = OllamaService(make_settings(ollama_base_url=gateway.url))
        simulator.seconds_per_token = 1.0
        try:
            stream = await service.generate("llama3.1", "x", stream=True)
            async with aclosing(stream):
                await anext(stream)
                with pytest.raises(GatewayQueueTimeoutError):
                    await service.generate("llama3.1", "x")
        finally:
            await service.disconnect()

"""Two to four replicas, HAProxy and three servers under load: limits, outages, cancels, draining."""

import asyncio
from pathlib import Path

import pytest

from simulator import Call, Fault, Simulator
from tests.haproxy import needs_haproxy
from tests.kinds import EMBEDDINGS, NATIVE_STREAM, STREAMED_NDJSON, STREAMED_SSE, WHOLE, Kind, Seen, until
from tests.scale.farm import (
    SLOTS,
    STREAMS,
    Farm,
    generations,
    haproxy_program,
    is_complete,
    load,
    most_at_once,
    run_farm,
)
from tests.service_process import END_SECONDS

pytestmark = needs_haproxy

needs_new_haproxy = pytest.mark.skipif(
    haproxy_program() is None, reason="needs HAProxy 2.8.25 (requirements-scale.txt): older ones exceed maxconn"
)
CANCELLED_WITHIN_SECONDS = 1.0


async def test_sixty_clients_get_no_error_and_no_server_more_than_its_slots(tmp_path: Path) -> None:
    async with run_farm(tmp_path, replicas=2, servers=3) as farm:
        seen = await load(farm.ask, clients=60, each=4)
        assert [one for one in seen if not is_complete(*one)] == []
        assert len(farm.generations) == len(seen) == 240
        assert [most_at_once(server) for server in farm.servers] == [SLOTS] * 3
        assert {one.headers["X-Served-By"] for _, one in seen} == {"ollama1", "ollama2", "ollama3"}


async def test_four_replicas_meant_for_ten_each_do_not_overload_one_server(tmp_path: Path) -> None:
    async with run_farm(tmp_path, replicas=4, servers=1, ollama_max_connections=10) as farm:
        seen = await load(farm.ask, clients=60, each=1)
        assert all(is_complete(*one) for one in seen)
        assert most_at_once(farm.servers[0]) == SLOTS


@needs_new_haproxy
async def test_a_killed_server_loses_only_what_ran_on_it_and_returns_with_its_slots(tmp_path: Path) -> None:
    async with run_farm(tmp_path, seconds_per_token=0.005) as farm:
        killed = farm.servers[1]
        loading = asyncio.create_task(load(farm.ask, clients=40, each=8))
        await until(lambda: len(generations(killed)) >= 2 * SLOTS, END_SECONDS)
        await killed.stop()
        lost = [call for call in generations(killed) if call.outcome == "reset"]
        before = len(generations(killed))
        await asyncio.sleep(0.5)
        assert len(generations(killed)) == before
        await killed.start()
        seen = await loading
        broken = [one for one in seen if not is_complete(*one)]
        assert 1 <= len(lost) <= SLOTS
        assert len(broken) <= SLOTS  # the server may not have seen the last ones
        assert {_failure(*one) for one in broken} <= {"ollama_error"}
        # It takes requests again, and never more than it has slots.
        assert all(is_complete(*one) for one in await _until_used(farm, killed, before))
        assert max(most_at_once(server) for server in farm.servers) == SLOTS


async def test_a_cancel_reaches_the_server_before_its_first_byte(tmp_path: Path) -> None:
    async with run_farm(tmp_path, servers=1) as farm:
        server = farm.servers[0]
        for kind in (STREAMED_SSE, WHOLE, EMBEDDINGS, NATIVE_STREAM):
            server.fault(Fault(hang=True))
            asked = asyncio.create_task(farm.ask(kind))
            call = await _last_call(server, kind)
            await _cancel_and_see_it_end(asked, call.ended_event)
            assert call.outcome == "client_gone"


async def test_a_cancel_reaches_the_server_in_the_middle(tmp_path: Path) -> None:
    async with run_farm(tmp_path, servers=1, seconds_per_token=0.05) as farm:
        server = farm.servers[0]
        for kind in (STREAMED_SSE, STREAMED_NDJSON, WHOLE, NATIVE_STREAM):
            server.fault(Fault(endless=True))
            asked = asyncio.create_task(farm.ask(kind))
            call = await _last_call(server, kind)
            if kind is not WHOLE:
                await until(lambda call=call: call.chunks_sent >= 3)  # type: ignore[misc]
            await _cancel_and_see_it_end(asked, call.ended_event)
            assert call.outcome == "client_gone"


@pytest.mark.parametrize("characters", [30, pytest.param(200_000, marks=needs_new_haproxy)])
async def test_what_is_cancelled_in_a_queue_never_reaches_a_server(tmp_path: Path, characters: int) -> None:
    async with run_farm(tmp_path, replicas=2, servers=1, ollama_max_connections=6) as farm:
        server, release = farm.servers[0], asyncio.Event()
        server.fault(Fault(until=release, times=None))
        running = [asyncio.create_task(farm.ask(WHOLE)) for _ in range(SLOTS)]
        await until(lambda: len(generations(server)) == SLOTS)
        prompt = "x" * characters
        waiting = [asyncio.create_task(farm.ask(STREAMS[number % 2], prompt=prompt)) for number in range(20)]
        # 12 get past the services' own limit: 4 run, 8 wait at the gateway and 12 in the services.
        await _gateway_queue_is(farm, 8)
        for task in waiting:
            task.cancel()
        await _gateway_queue_is(farm, 0)
        release.set()
        assert all(is_complete(WHOLE, seen) for seen in await asyncio.gather(*running))
        assert len(generations(server)) == SLOTS


async def test_draining_a_server_under_load_loses_nothing(tmp_path: Path) -> None:
    async with run_farm(tmp_path, replicas=2, servers=3) as farm:
        loading = asyncio.create_task(load(farm.ask, clients=40, each=6))
        drained = farm.servers[0]
        await until(lambda: len(generations(drained)) >= SLOTS, END_SECONDS)
        await farm.gateway.set_server("generation/ollama1", "state drain")
        before = len(generations(drained))
        await asyncio.sleep(0.5)
        assert len(generations(drained)) <= before + SLOTS  # what had been chosen already
        await farm.gateway.set_server("generation/ollama1", "state ready")
        assert [one for one in await loading if not is_complete(*one)] == []


async def test_a_replica_that_ends_under_load_finishes_what_it_has(tmp_path: Path) -> None:
    kinds = [STREAMED_SSE, WHOLE] * 12
    async with run_farm(tmp_path, replicas=2, servers=3, shutdown_delay=1) as farm:
        tasks = [asyncio.create_task(farm.ask(kind)) for kind in kinds]
        await until(lambda: len(farm.generations) >= 8)
        farm.replicas[0].terminate()
        assert all(map(is_complete, kinds, await asyncio.gather(*tasks)))
        assert await farm.replicas[0].exit_code() == 0


async def test_without_any_server_all_replicas_say_when_to_come_back_and_recover(tmp_path: Path) -> None:
    async with run_farm(tmp_path, replicas=2, servers=3) as farm:
        for server in farm.servers:
            await server.stop()
        for seen in await asyncio.gather(*[farm.ask(kind) for kind in [STREAMED_SSE, WHOLE, EMBEDDINGS] * 4]):
            assert (seen.status, seen.code) == (503, "ollama_unavailable")
            assert int(seen.headers["Retry-After"]) >= 1
        for server in farm.servers:
            await server.start()
        async with asyncio.timeout(END_SECONDS):
            while not all([(await farm.ask(WHOLE)).status == 200 for _ in farm.replicas]):
                await asyncio.sleep(0.1)


async def test_by_model_models_are_loaded_less_often(tmp_path: Path) -> None:
    models = [f"model{number}" for number in range(6)]
    loads = {}
    for balance in ("least-connections", "by-model"):
        gateway = {"balance": balance}
        async with run_farm(tmp_path, models=models, gateway=gateway, upstream_model_header="X-Model") as farm:
            asked = [farm.ask(WHOLE, model=models[number % 6]) for number in range(36)]
            answers = await asyncio.gather(*asked)
            assert all(seen.headers["X-Model-Fallback"] == "false" for seen in answers)
            loads[balance] = sum(sum(server.loads.values()) for server in farm.servers)
    assert 6 <= loads["by-model"] < loads["least-connections"]


def _failure(kind: Kind, seen: Seen) -> str:
    """Return the code of a failure; a cut stream of Ollama's own API has none."""
    if kind is NATIVE_STREAM:
        return "ollama_error"
    return str(seen.events[-1]["code"]) if seen.status == 200 else seen.code


async def _until_used(farm: Farm, server: Simulator, before: int) -> list[tuple[Kind, Seen]]:
    """Load all servers until one that has returned takes requests again; `before` is how many it had."""
    seen = []
    async with asyncio.timeout(END_SECONDS):
        while len(generations(server)) < before + 2 * SLOTS:
            seen += await load(farm.ask, clients=24, each=1)
    return seen


async def _last_call(server: Simulator, kind: Kind) -> Call:
    return await server.received(kind.upstream, len(server.calls_to(kind.upstream)) + 1)


async def _cancel_and_see_it_end(asked: asyncio.Task[Seen], ended: asyncio.Event) -> None:
    asked.cancel()
    async with asyncio.timeout(CANCELLED_WITHIN_SECONDS):
        await ended.wait()


async def _gateway_queue_is(farm: Farm, count: int) -> None:
    async with asyncio.timeout(END_SECONDS):
        while (await farm.gateway.statistics("generation"))["qcur"] != str(count):
            await asyncio.sleep(0.02)

"""Request bodies: timeout and total memory."""

import asyncio
import gzip
import json
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from main import create_app
from middleware.request_body import budget as body_budget
from middleware.request_body.budget import BodyBudget, BodyBudgetError
from simulator import Simulator
from tests.api import BODY, GENERATE, GENERATE_PATH, JSON, call, get
from tests.conftest import MakeSettings
from tests.raw_http import connect, post_head
from tests.service_process import run_service
from tests.serving import serve

# The time a body may take


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("drips", [True, False])
async def test_a_body_has_to_arrive_in_time(
    make_settings: MakeSettings, simulator: Simulator, announced: bool, drips: bool
) -> None:
    head = (
        post_head(GENERATE_PATH, length=len(BODY))
        if announced
        else post_head(GENERATE_PATH, "Transfer-Encoding: chunked")
    )
    async with serve(create_app(make_settings(request_body_timeout=0.4))) as url, connect(url) as connection:
        await connection.send(head)

        async def drip() -> None:
            while True:
                await connection.send(b" " if announced else b"1\r\n \r\n")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip()) if drips else None
        answer = await connection.answer()
        assert (answer.status, answer.json()["code"]) == (408, "request_timeout")
        assert answer.json()["retryable"] is True
        assert "REQUEST_BODY_TIMEOUT" in answer.json()["detail"]
        assert answer.headers["connection"] == "close"
        if dripping:
            dripping.cancel()
    assert simulator.calls_to("/api/generate") == []


async def test_the_body_timeout_does_not_limit_the_response(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator
) -> None:
    simulator.seconds_per_token = 0.05
    async with serve(create_app(make_settings(request_body_timeout=0.2))) as url:
        assert (await call(client, "POST", url + GENERATE_PATH, data=BODY, headers=JSON)).status == 200


# The memory that bodies may take together

LARGE = json.dumps(GENERATE | {"system": "x" * 1_000_000}).encode()


async def test_large_bodies_wait_unread_while_small_ones_pass(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator
) -> None:
    settings = make_settings(max_request_bytes=len(LARGE), max_body_bytes_in_flight=2 * len(LARGE))
    async with serve(create_app(settings)) as url, AsyncExitStack() as stack:
        parked = [await stack.enter_async_context(connect(url)) for _ in range(3)]
        for connection in parked:
            await connection.send(post_head(GENERATE_PATH, length=len(LARGE)) + LARGE[:1000])
        for encoded in (BODY, gzip.compress(BODY)):
            headers = JSON | ({"Content-Encoding": "gzip"} if encoded != BODY else {})
            assert (await call(client, "POST", url + GENERATE_PATH, data=encoded, headers=headers)).status == 200
        await parked[0].send(LARGE[1000:])
        assert (await parked[0].answer()).status == 200
        for connection in parked[2:]:  # for which there is room now
            await connection.send(LARGE[1000:])
            assert (await connection.answer()).status == 200
    assert len(simulator.calls_to("/api/generate")) == 4


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_beyond_the_budget_is_rejected(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, announced: bool
) -> None:
    monkeypatch.setattr(body_budget, "WAIT_SECONDS", 0.2)
    settings = make_settings(max_request_bytes=len(LARGE), max_body_bytes_in_flight=len(LARGE))
    async with serve(create_app(settings)) as url, connect(url) as parked, connect(url) as other:
        await parked.send(post_head(GENERATE_PATH, length=len(LARGE)) + LARGE[:1000])
        await asyncio.sleep(0.1)
        if announced:
            await other.send(post_head(GENERATE_PATH, length=len(LARGE)))
        else:
            await other.send(post_head(GENERATE_PATH, "Transfer-Encoding: chunked"))
            await other.send(b"%x\r\n%b\r\n" % (100_000, LARGE[:100_000]))
        answer = await other.answer()
        assert (answer.status, answer.json()["code"], answer.json()["retryable"]) == (503, "overloaded", True)
        assert int(answer.headers["retry-after"]) >= 1
        await parked.send(LARGE[1000:])
        assert (await parked.answer()).status == 200
    async with serve(create_app(settings)) as url, connect(url) as alone:
        await alone.send(post_head(GENERATE_PATH, length=len(LARGE)) + LARGE)
        assert (await alone.answer()).status == 200


async def test_the_budget_is_released_in_every_case(
    client: aiohttp.ClientSession, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_budget, "WAIT_SECONDS", 10)
    settings = make_settings(max_request_bytes=len(LARGE), max_body_bytes_in_flight=len(LARGE))
    broken = b"[" + LARGE[1:]
    async with serve(create_app(settings)) as url:
        for _ in range(3):
            async with connect(url) as leaver:
                await leaver.send(post_head(GENERATE_PATH, length=len(LARGE)) + LARGE[:100_000])
                await asyncio.sleep(0.05)
            assert (await call(client, "POST", url + GENERATE_PATH, data=broken, headers=JSON)).status == 422
            headers = JSON | {"Content-Encoding": "gzip"}
            coded = gzip.compress(LARGE)
            assert (await call(client, "POST", url + GENERATE_PATH, data=coded, headers=headers)).status == 200
            assert (await call(client, "POST", url + GENERATE_PATH, data=LARGE, headers=JSON)).status == 200


async def test_the_budget_serves_waiting_requests_in_order() -> None:
    budget = BodyBudget(100)
    await budget.reserve(80)
    order: list[int] = []

    async def take(size: int) -> None:
        await budget.reserve(size)
        order.append(size)

    tasks = [asyncio.create_task(take(size)) for size in (50, 10, 40)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.sleep(0)
    assert order == []
    budget.release(80)
    await asyncio.gather(tasks[0], tasks[2])
    assert order == [50, 40]
    assert budget.used_bytes == 90


async def test_a_reservation_granted_during_cancellation_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = BodyBudget(10)
    await budget.reserve(10)
    waiting = asyncio.create_task(budget.reserve(10))
    await asyncio.sleep(0)
    budget.release(10)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert budget.used_bytes == 0
    monkeypatch.setattr(body_budget, "WAIT_SECONDS", 0.01)
    await budget.reserve(10)
    with pytest.raises(BodyBudgetError):
        await budget.reserve(1)
    budget.release(10)
    await budget.reserve(10)


async def test_clients_that_send_much_and_pause_take_little_memory(simulator: Simulator, tmp_path: Path) -> None:
    size = 20_000_000
    async with run_service(simulator.url, tmp_path) as service, AsyncExitStack() as stack:
        before = service.resident_kb
        connections = [await stack.enter_async_context(connect(service.url)) for _ in range(20)]
        for connection in connections:
            connection.writer.write(post_head(GENERATE_PATH, length=size) + bytes(size - 1))
        async with aiohttp.ClientSession() as client:
            for _ in range(10):
                await asyncio.sleep(0.1)
                assert (await get(client, f"{service.url}/health/live")).status == 200
            answer = await call(client, "POST", service.url + GENERATE_PATH, data=BODY, headers=JSON)
        assert answer.status == 200
        assert service.resident_kb - before < 250_000


async def test_the_body_of_a_request_without_a_key_is_not_kept(simulator: Simulator, tmp_path: Path) -> None:
    async with run_service(simulator.url, tmp_path, api_keys="right") as service, AsyncExitStack() as stack:
        before = service.resident_kb
        connections = [await stack.enter_async_context(connect(service.url)) for _ in range(20)]
        for connection in connections:
            connection.writer.write(post_head(GENERATE_PATH, length=20_000_000) + bytes(19_000_000))
        for connection in connections:
            assert (await connection.answer()).status == 401
        assert service.resident_kb - before < 60_000

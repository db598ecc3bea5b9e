"""`ConcurrencyLimiter`: slots and the queue, without a server; `requests/test_queue.py` tests it in the service."""

import asyncio
import gc
import random
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from services.concurrency_limiter import MAX_RETRY_AFTER_SECONDS, MIN_RETRY_AFTER_SECONDS, ConcurrencyLimiter
from services.ollama.errors import OverloadedError


def limiter(*, slots: int = 1, queue_size: int = 10, queue_timeout_seconds: float = 5.0) -> ConcurrencyLimiter:
    return ConcurrencyLimiter(slots=slots, queue_size=queue_size, queue_timeout_seconds=queue_timeout_seconds)


async def turns(times: int = 5) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def hold(gate: ConcurrencyLimiter, until: asyncio.Event) -> None:
    async with gate.slot():
        await until.wait()


async def test_slots_are_granted_immediately_and_released() -> None:
    gate = limiter(slots=2)
    async with gate.slot(), gate.slot():
        assert (gate.running, gate.queued) == (2, 0)
    assert (gate.running, gate.queued) == (0, 0)


async def test_queued_requests_are_served_in_order() -> None:
    gate, served = limiter(), list[int]()

    async def run(number: int) -> None:
        async with gate.slot():
            served.append(number)
            await asyncio.sleep(0)

    async with gate.slot():
        tasks = [asyncio.create_task(run(number)) for number in range(8)]
        await turns()
        assert gate.queued == 8
        tasks[3].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert served == [0, 1, 2, 4, 5, 6, 7]
    assert (gate.running, gate.queued) == (0, 0)


async def test_a_new_request_does_not_overtake_a_queued_one() -> None:
    gate, served = limiter(), list[str]()

    async def run(name: str) -> None:
        async with gate.slot():
            served.append(name)

    async with gate.slot():
        waiting = asyncio.create_task(run("waits"))
        await turns()
    await run("newcomer")  # the slot is passed on immediately
    await waiting
    assert served == ["waits", "newcomer"]


async def test_a_full_queue_rejects_immediately_and_names_its_setting() -> None:
    gate, end = limiter(queue_size=1), asyncio.Event()
    async with gate.slot():
        waiting = asyncio.create_task(hold(gate, end))
        await turns()
        with pytest.raises(OverloadedError, match="OLLAMA_QUEUE_SIZE") as caught:
            await gate.slot().__aenter__()
        assert caught.value.retryable
    end.set()
    await waiting


async def test_without_a_queue_the_next_request_is_rejected() -> None:
    gate = limiter(queue_size=0)
    async with gate.slot():
        with pytest.raises(OverloadedError):
            await gate.slot().__aenter__()
    async with gate.slot():
        assert gate.running == 1


async def test_a_queue_timeout_names_its_setting() -> None:
    gate = limiter(queue_timeout_seconds=0.02)
    async with gate.slot():
        with pytest.raises(OverloadedError, match=r"0\.02 s \(OLLAMA_QUEUE_TIMEOUT\)"):
            await gate.slot().__aenter__()
        assert (gate.running, gate.queued) == (1, 0)
    assert gate.running == 0


async def test_an_error_releases_the_slot() -> None:
    gate = limiter()
    with pytest.raises(ZeroDivisionError):
        async with gate.slot():
            raise ZeroDivisionError
    assert gate.running == 0


async def test_a_waiter_cancelled_when_granted_passes_the_slot_on() -> None:
    gate, end = limiter(), asyncio.Event()
    slot = gate.slot()
    await slot.__aenter__()
    called, behind = (asyncio.create_task(hold(gate, end)) for _ in range(2))
    await turns()
    await slot.__aexit__(None, None, None)  # the slot is granted to `called`, which has not resumed yet
    called.cancel()
    with pytest.raises(asyncio.CancelledError):
        await called
    await turns()
    assert (gate.running, gate.queued) == (1, 0)
    end.set()
    await behind
    assert gate.running == 0


async def test_a_slot_skips_a_waiter_that_was_just_cancelled() -> None:
    gate, end = limiter(), asyncio.Event()
    slot = gate.slot()
    await slot.__aenter__()
    first, second = (asyncio.create_task(hold(gate, end)) for _ in range(2))
    await turns()
    first.cancel()  # it is still queued when the slot becomes free
    await slot.__aexit__(None, None, None)
    await turns()
    assert (gate.running, gate.queued) == (1, 0)
    end.set()
    async with asyncio.timeout(1):
        await second
    assert first.cancelled()
    assert gate.running == 0


async def test_a_garbage_collected_waiter_holds_no_slot() -> None:
    gate, end = limiter(), asyncio.Event()
    async with gate.slot():
        ahead = asyncio.create_task(hold(gate, end))
        await turns()
        waiting = gate.slot().__aenter__()
        waiting.send(None)
        assert gate.queued == 2
        del waiting
        gc.collect()
        await turns()
        assert (gate.running, gate.queued) == (1, 1)
    end.set()
    await ahead
    assert gate.running == 0


async def test_a_waiter_that_times_out_when_granted_passes_the_slot_on() -> None:
    gate = limiter(queue_timeout_seconds=0.02)
    slot = gate.slot()
    await slot.__aenter__()
    called = asyncio.create_task(gate.slot().__aenter__())
    await turns()
    loop = asyncio.get_running_loop()
    due = loop.time() + 0.02
    while loop.time() < due:  # block the loop, so that both happen in its next iteration
        pass
    await slot.__aexit__(None, None, None)
    with suppress(OverloadedError):
        await called
        gate.running -= 1  # the grant came first
    assert (gate.running, gate.queued) == (0, 0)


async def test_many_cancellations_leave_an_empty_queue() -> None:
    gate = limiter(slots=3, queue_size=50)
    tasks = [asyncio.create_task(hold(gate, asyncio.Event())) for _ in range(40)]
    await turns()
    assert (gate.running, gate.queued) == (3, 37)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (gate.running, gate.queued) == (0, 0)


@pytest.mark.parametrize("seed", range(5))
async def test_slots_are_never_exceeded_and_never_lost(seed: int) -> None:
    rng, gate, running = random.Random(seed), limiter(slots=3, queue_size=20, queue_timeout_seconds=0.004), 0

    async def work() -> None:
        nonlocal running
        async with gate.slot():
            running += 1
            assert running <= 3
            try:
                await asyncio.sleep(rng.random() * 0.002)
                if rng.random() < 0.2:
                    raise ZeroDivisionError
            finally:
                running -= 1

    tasks = []
    for _ in range(300):
        tasks.append(asyncio.create_task(work()))
        if rng.random() < 0.5:
            await asyncio.sleep(rng.random() * 0.001)
        if rng.random() < 0.4:
            rng.choice(tasks).cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    kinds = {type(result) for result in results}
    assert {type(None), asyncio.CancelledError} <= kinds
    assert kinds <= {type(None), OverloadedError, ZeroDivisionError, asyncio.CancelledError}
    assert (gate.running, gate.queued) == (0, 0)


async def test_the_slot_of_a_garbage_collected_holder_is_released() -> None:
    gate = limiter()

    async def hold() -> AsyncIterator[None]:
        async with gate.slot():
            yield

    async def begin_and_forget() -> None:
        await anext(hold())
        assert gate.running == 1

    await begin_and_forget()
    gc.collect()
    await turns()
    assert gate.running == 0


async def retry_after(gate: ConcurrencyLimiter) -> float:
    with pytest.raises(OverloadedError) as caught:
        await gate.slot().__aenter__()
    assert caught.value.retry_after_seconds is not None
    return caught.value.retry_after_seconds


async def test_retry_after_depends_on_the_duration_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("services.concurrency_limiter.time.monotonic", lambda: now)
    gate = limiter(slots=2, queue_size=0)
    async with gate.slot(), gate.slot():
        assert await retry_after(gate) == MIN_RETRY_AFTER_SECONDS  # no durations are known yet
    for _ in range(20):
        async with gate.slot():
            now += 30.0
    async with gate.slot(), gate.slot():
        slow = await retry_after(gate)
    assert slow == pytest.approx(15.0, rel=0.2)
    for _ in range(20):
        async with gate.slot():
            now += 4.0
    async with gate.slot(), gate.slot():
        assert await retry_after(gate) == pytest.approx(2.0, rel=0.2)
    for _ in range(20):
        async with gate.slot():
            now += 10_000.0
    async with gate.slot(), gate.slot():
        assert await retry_after(gate) == MAX_RETRY_AFTER_SECONDS


async def test_retry_after_weights_the_first_request_fully_and_later_ones_partly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("services.concurrency_limiter.time.monotonic", lambda: now)
    gate = limiter(queue_size=0)
    async with gate.slot():
        now += 30.0
    async with gate.slot():
        assert await retry_after(gate) == pytest.approx(30.0)
        now += 80.0
    async with gate.slot():
        assert await retry_after(gate) == pytest.approx(40.0)


async def test_retry_after_grows_with_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("services.concurrency_limiter.time.monotonic", lambda: now)
    gate, end = limiter(queue_size=3), asyncio.Event()
    async with gate.slot():
        now += 10.0
    holding = [asyncio.create_task(hold(gate, end)) for _ in range(4)]
    await turns()
    assert await retry_after(gate) == pytest.approx(40.0)
    end.set()
    await asyncio.gather(*holding)

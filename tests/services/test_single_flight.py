"""Calls that share one task."""

import asyncio
import gc

import pytest

from services.ollama.errors import OllamaUnavailableError
from services.single_flight import SingleFlight


class Work:
    """Runs until it is released, and counts its runs."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun = 0
        self.let_go = asyncio.Event()
        self.was_cancelled = False
        self._error = error

    async def __call__(self) -> int:
        self.begun += 1
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        if self._error is not None:
            raise self._error
        return self.begun


async def test_a_hundred_callers_share_one_run() -> None:
    work = Work()
    flight = SingleFlight(work)
    callers = [asyncio.create_task(flight()) for _ in range(100)]
    await asyncio.sleep(0)
    work.let_go.set()
    assert await asyncio.gather(*callers) == [1] * 100


async def test_the_next_caller_starts_a_new_run() -> None:
    work = Work()
    work.let_go.set()
    flight = SingleFlight(work)
    assert await flight() == 1
    await asyncio.sleep(0)
    assert await flight() == 2


async def test_an_error_is_raised_to_every_caller_and_not_cached() -> None:
    work = Work(ZeroDivisionError())
    flight = SingleFlight(work)
    callers = [asyncio.create_task(flight()) for _ in range(3)]
    await asyncio.sleep(0)
    work.let_go.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(result) for result in results] == [ZeroDivisionError] * 3
    with pytest.raises(ZeroDivisionError):
        await flight()
    assert work.begun == 2


async def test_a_cancelled_caller_does_not_cancel_the_run() -> None:
    work = Work()
    flight = SingleFlight(work)
    leaver, stayer = asyncio.create_task(flight()), asyncio.create_task(flight())
    await asyncio.sleep(0)
    leaver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    work.let_go.set()
    assert await stayer == 1


async def test_the_first_caller_may_be_cancelled_too() -> None:
    work = Work()
    flight = SingleFlight(work)
    first = asyncio.create_task(flight())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    second = asyncio.create_task(flight())
    await asyncio.sleep(0)
    work.let_go.set()
    assert await second == 1
    assert work.begun == 1


async def test_an_error_without_callers_is_not_logged() -> None:
    work = Work(ZeroDivisionError())
    flight = SingleFlight(work)
    caller = asyncio.create_task(flight())
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.sleep(0)
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    work.let_go.set()
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
    assert complaints == []


async def test_cancel_ends_the_run() -> None:
    work = Work()
    flight = SingleFlight(work)
    caller = asyncio.create_task(flight())
    while not work.begun:
        await asyncio.sleep(0)
    caller.cancel()
    await flight.cancel()
    assert work.was_cancelled
    await flight.cancel()


async def test_cancelling_the_run_is_not_cancelling_its_callers() -> None:
    work = Work()
    flight = SingleFlight(work)
    caller = asyncio.create_task(flight())
    await asyncio.sleep(0)
    await flight.cancel()
    with pytest.raises(OllamaUnavailableError):
        await caller

"""One instance per event loop."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.per_loop import PerLoop


class Thing:
    """The resource."""


class Opener:
    """Opens resources slowly, and counts them."""

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.let_go = asyncio.Event()
        self.errors: list[Exception] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Thing]:
        await self.let_go.wait()
        if self.errors:
            raise self.errors.pop()
        self.opened += 1
        try:
            yield Thing()
        finally:
            await asyncio.sleep(0)
            self.closed += 1


async def test_callers_during_opening_share_one_instance() -> None:
    opener = Opener()
    per_loop = PerLoop(opener.open)
    callers = [asyncio.create_task(per_loop.get()) for _ in range(5)]
    await asyncio.sleep(0)
    opener.let_go.set()
    assert len(set(await asyncio.gather(*callers))) == 1
    await per_loop.close()
    assert (opener.opened, opener.closed) == (1, 1)


async def test_a_failed_opening_is_tried_again() -> None:
    opener = Opener()
    opener.errors = [OSError("no")]
    per_loop = PerLoop(opener.open)
    callers = [asyncio.create_task(per_loop.get()) for _ in range(3)]
    await asyncio.sleep(0)
    opener.let_go.set()
    first, *others = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(first, OSError)
    assert {type(other) for other in others} == {Thing}
    assert opener.opened == 1


@pytest.mark.parametrize("leaving", [0, 1])
async def test_a_cancelled_caller_does_not_affect_the_others(leaving: int) -> None:
    opener = Opener()
    per_loop = PerLoop(opener.open)
    callers = [asyncio.create_task(per_loop.get()) for _ in range(3)]
    await asyncio.sleep(0)
    callers[leaving].cancel()
    await asyncio.sleep(0)
    opener.let_go.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(results.pop(leaving), asyncio.CancelledError)
    assert results[0] is results[1]
    assert isinstance(results[0], Thing)
    assert opener.opened == 1


async def test_a_caller_during_closing_gets_a_new_instance() -> None:
    opener = Opener()
    opener.let_go.set()
    per_loop = PerLoop(opener.open)
    first = await per_loop.get()
    _, second = await asyncio.gather(per_loop.close(), per_loop.get())
    assert second is not first
    assert await per_loop.get() is second
    await per_loop.close()
    await per_loop.close()
    assert (opener.opened, opener.closed) == (2, 2)


def test_the_instance_of_a_closed_loop_is_discarded() -> None:
    @asynccontextmanager
    async def open_() -> AsyncIterator[Thing]:
        yield Thing()

    per_loop = PerLoop(open_)

    async def use() -> "weakref.ref[Thing]":
        return weakref.ref(await per_loop.get())

    first = asyncio.run(use())
    second = asyncio.run(use())
    gc.collect()
    assert first() is None
    assert second() is not None

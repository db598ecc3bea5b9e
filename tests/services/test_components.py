import asyncio
import gc
import logging
from typing import Any

import pytest

from services.components import ComponentChecks, ComponentState

LIMIT = 0.05
UP, DOWN = ComponentState(True, "initialized"), ComponentState(False, "not_initialized")


def checks_with(check: Any, **how: Any) -> ComponentChecks:
    checks = ComponentChecks(timeout_seconds=LIMIT)
    checks.register("crewai_agents", check, **({"up": "initialized", "down": "not_initialized"} | how))
    return checks


async def true() -> bool:
    return True


async def false() -> bool:
    return False


async def nothing() -> None:
    return None


async def a_word() -> str:
    return "ok"


async def one() -> int:
    return 1


def not_a_coroutine() -> bool:
    return True


async def fail() -> bool:
    raise RuntimeError("no\nconnection")


async def cancel_itself() -> bool:
    raise asyncio.CancelledError


async def exit_process() -> bool:
    raise SystemExit("no model")


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError


class Unprintable:
    def __repr__(self) -> str:
        raise ValueError


async def fail_without_words() -> bool:
    raise UnprintableError


async def unprintable() -> Unprintable:
    return Unprintable()


async def hang() -> bool:
    await asyncio.sleep(60)
    return True


NONSENSE = [
    (false, "its check returned False"),
    (nothing, "its check returned None"),
    (a_word, "its check returned 'ok'"),
    (one, "its check returned 1"),
    (not_a_coroutine, "TypeError: "),
    (fail, "RuntimeError: no connection"),
    (exit_process, "its check raised SystemExit('no model')"),
    (fail_without_words, "tests.services.test_components.UnprintableError: "),
    (unprintable, "its check returned <Unprintable "),
    (cancel_itself, "its check was cancelled"),
    (hang, "no answer within 0.05 s"),
]


async def test_a_component_has_words_of_its_own() -> None:
    assert await checks_with(true).run() == {"crewai_agents": UP}
    assert await checks_with(true, up="up", down="down").run() == {"crewai_agents": ComponentState(True, "up")}


async def test_a_component_that_is_registered_again_is_replaced() -> None:
    checks = checks_with(false)
    assert await checks.run() == {"crewai_agents": DOWN}
    checks.register("crewai_agents", true, up="up", down="down")
    assert await checks.run() == {"crewai_agents": ComponentState(True, "up")}


@pytest.mark.parametrize(("check", "reason"), NONSENSE)
async def test_what_does_not_say_true_in_time_is_down_and_logged_once(
    check: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    checks = checks_with(check)
    for _ in range(3):
        assert await checks.run() == {"crewai_agents": DOWN}
    (record,) = [record for record in caplog.records if record.levelno > logging.DEBUG]
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(f"the component crewai_agents is down: {reason}")


async def test_the_log_says_when_it_is_up_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    answers = iter([True, False, False, True, True, False])

    async def check() -> bool:
        return next(answers)

    checks = checks_with(check)
    for _ in range(6):
        await checks.run()
    down = "the component crewai_agents is down: its check returned False"
    assert caplog.messages == [down, "the component crewai_agents is up again", down]


async def test_a_check_that_does_not_let_itself_be_cancelled_holds_nobody_up() -> None:
    ended = asyncio.Event()
    started = 0

    async def check() -> bool:
        nonlocal started
        started += 1
        while not ended.is_set():
            try:
                await ended.wait()
            except asyncio.CancelledError:
                continue
        return True

    checks = checks_with(check)
    async with asyncio.timeout(5):
        assert [await checks.run() for _ in range(3)] == [{"crewai_agents": DOWN}] * 3
        assert started == 1
        ended.set()
        await asyncio.sleep(0)
        assert await checks.run() == {"crewai_agents": UP}


async def test_simultaneous_callers_share_one_check_and_one_that_leaves_does_not_end_it() -> None:
    go_on = asyncio.Event()
    started: asyncio.Queue[None] = asyncio.Queue()

    async def check() -> bool:
        started.put_nowait(None)
        return await go_on.wait()

    checks = ComponentChecks(timeout_seconds=5)
    checks.register("crewai_agents", check)
    leaver = asyncio.create_task(checks.run())
    await started.get()
    stayers = [asyncio.create_task(checks.run()) for _ in range(3)]
    leaver.cancel()
    await asyncio.wait({leaver})
    go_on.set()
    assert await asyncio.gather(*stayers) == [{"crewai_agents": ComponentState(True, "up")}] * 3
    assert started.empty()


async def test_each_event_loop_has_a_check_of_its_own() -> None:
    started = 0

    async def check() -> bool:
        nonlocal started
        started += 1
        await asyncio.sleep(0.1)
        return True

    checks = ComponentChecks(timeout_seconds=5)
    checks.register("crewai_agents", check)
    here = asyncio.create_task(checks.run())
    await asyncio.sleep(0)
    there = asyncio.to_thread(asyncio.run, checks.run())
    assert list(await asyncio.gather(here, there)) == [{"crewai_agents": ComponentState(True, "up")}] * 2
    assert started == 2


async def test_a_check_whose_callers_have_all_left_fails_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    go_on, started = asyncio.Event(), asyncio.Event()

    async def check() -> bool:
        started.set()
        await go_on.wait()
        raise RuntimeError

    caller = asyncio.create_task(checks_with(check).run())
    await started.wait()
    caller.cancel()
    await asyncio.wait({caller})
    assert caller.cancelled()
    go_on.set()
    await asyncio.sleep(0.01)
    del caller
    gc.collect()  # asyncio reports an exception that nobody has retrieved when its task is collected
    assert caplog.messages == []


async def test_a_limit_of_its_own_is_at_most_that_of_all() -> None:
    async def check() -> bool:
        await asyncio.sleep(0.2)
        return True

    checks = ComponentChecks(timeout_seconds=5)
    checks.register("hasty", check, timeout_seconds=LIMIT)
    checks.register("patient", check)
    assert {name: state.is_up for name, state in (await checks.run()).items()} == {"hasty": False, "patient": True}
    assert await checks_with(check, timeout_seconds=60).run() == {"crewai_agents": DOWN}


@pytest.mark.parametrize(
    ("name", "up", "down"), [("ollama", "up", "down"), ("agents", "ready", "ready")], ids=["name", "words"]
)
def test_what_could_not_be_told_apart_is_refused(name: str, up: str, down: str) -> None:
    with pytest.raises(ValueError, match=name):
        ComponentChecks(timeout_seconds=1).register(name, true, up=up, down=down)

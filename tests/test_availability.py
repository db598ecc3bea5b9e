"""Whether Ollama counts as down, without a server."""

import asyncio

import pytest

from services.availability import Availability
from services.errors import (
    InvalidRequestError,
    OllamaBusyError,
    OllamaConnectTimeoutError,
    OllamaError,
    OllamaResponseError,
    OllamaTimeoutError,
    OllamaUnavailableError,
    RejectedByOllamaError,
)

COOLDOWN = 5.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("services.availability.time.monotonic", clock)
    return clock


@pytest.fixture
def availability(clock: Clock) -> Availability:
    assert clock.now
    return Availability(cooldown_seconds=COOLDOWN)


def fail(availability: Availability, error: BaseException) -> None:
    with pytest.raises(type(error)), availability.attempt():
        raise error


def down(availability: Availability) -> None:
    fail(availability, OllamaUnavailableError("gone"))


def is_refused(availability: Availability) -> bool:
    try:
        availability.check()
    except OllamaUnavailableError:
        return True
    return False


@pytest.mark.parametrize("error", [OllamaUnavailableError("gone"), OllamaConnectTimeoutError("silent")])
def test_a_connection_that_cannot_be_opened_closes_it(availability: Availability, error: OllamaError) -> None:
    fail(availability, error)
    assert is_refused(availability)
    assert error.retry_after_seconds == COOLDOWN


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError(),
        OllamaTimeoutError("slow"),
        RejectedByOllamaError("400"),
        OllamaBusyError("503"),
        OllamaResponseError("500", status=500),
        OllamaResponseError("garbage"),
        ZeroDivisionError(),
    ],
)
def test_nothing_else_closes_it(availability: Availability, error: BaseException) -> None:
    for _ in range(10):
        fail(availability, error)
    assert not is_refused(availability)


def test_the_refusal_says_how_long_it_will_last(availability: Availability, clock: Clock) -> None:
    down(availability)
    clock.now += 2
    with pytest.raises(OllamaUnavailableError) as caught:
        availability.check()
    assert caught.value.retry_after_seconds == pytest.approx(3.0)
    assert caught.value.retryable


def test_a_refusal_does_not_prolong_the_cooldown(availability: Availability, clock: Clock) -> None:
    down(availability)
    for _ in range(4):
        clock.now += 1
        with pytest.raises(OllamaUnavailableError), availability.attempt():
            pytest.fail("it was refused")
    clock.now += 1.5
    assert not is_refused(availability)


def test_one_probe_goes_through_while_others_are_refused(availability: Availability, clock: Clock) -> None:
    down(availability)
    clock.now += COOLDOWN + 0.1
    with availability.attempt():
        assert is_refused(availability)
        assert is_refused(availability)
    with availability.attempt():
        assert not is_refused(availability)  # it is no probe any more


def test_a_probe_that_fails_closes_it_again(availability: Availability, clock: Clock) -> None:
    down(availability)
    clock.now += COOLDOWN + 0.1
    down(availability)
    assert is_refused(availability)
    clock.now += COOLDOWN + 0.1
    assert not is_refused(availability)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), OllamaTimeoutError("slow"), ZeroDivisionError()])
def test_a_probe_that_tells_nothing_leaves_the_next_one_to_try(
    availability: Availability, clock: Clock, error: BaseException
) -> None:
    down(availability)
    clock.now += COOLDOWN + 0.1
    fail(availability, error)
    with availability.attempt():
        assert is_refused(availability)
    assert not is_refused(availability)


@pytest.mark.parametrize("error", [RejectedByOllamaError("400"), OllamaBusyError("503"), OllamaResponseError("500")])
def test_any_answer_to_the_probe_opens_it(availability: Availability, clock: Clock, error: OllamaError) -> None:
    down(availability)
    clock.now += COOLDOWN + 0.1
    fail(availability, error)
    with availability.attempt():
        assert not is_refused(availability)  # it is no probe any more


def test_a_request_that_never_left_is_no_sign_of_life(availability: Availability, clock: Clock) -> None:
    down(availability)
    clock.now += COOLDOWN + 0.1
    fail(availability, InvalidRequestError("too deep", field="body"))
    with availability.attempt():
        assert is_refused(availability)


def test_a_sign_of_life_opens_it_before_the_cooldown_is_over(availability: Availability) -> None:
    down(availability)
    availability.succeeded()
    assert not is_refused(availability)


def test_a_sign_of_life_opens_it_while_a_probe_waits(availability: Availability, clock: Clock) -> None:
    down(availability)
    clock.now += COOLDOWN + 0.1
    with availability.attempt():
        availability.succeeded()
        assert not is_refused(availability)


def test_one_that_was_under_way_before_does_not_free_the_way_for_a_second_probe(
    availability: Availability, clock: Clock
) -> None:
    with pytest.raises(OllamaTimeoutError), availability.attempt():
        down(availability)
        clock.now += COOLDOWN + 0.1
        probe = availability.attempt()
        probe.__enter__()
        raise OllamaTimeoutError("slow")
    assert is_refused(availability)
    probe.__exit__(None, None, None)
    assert not is_refused(availability)

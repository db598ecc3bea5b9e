"""The circuit breaker, without a server."""

import asyncio

import pytest

from services.circuit_breaker import CircuitBreaker
from services.ollama.errors import (
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
    monkeypatch.setattr("services.circuit_breaker.time.monotonic", clock)
    return clock


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    assert clock.now
    return CircuitBreaker(cooldown_seconds=COOLDOWN)


def fail(breaker: CircuitBreaker, error: BaseException) -> None:
    with pytest.raises(type(error)), breaker.attempt():
        raise error


def down(breaker: CircuitBreaker) -> None:
    fail(breaker, OllamaUnavailableError("gone"))


def is_refused(breaker: CircuitBreaker) -> bool:
    try:
        breaker.check()
    except OllamaUnavailableError:
        return True
    return False


@pytest.mark.parametrize("error", [OllamaUnavailableError("gone"), OllamaConnectTimeoutError("silent")])
def test_a_failed_connection_opens_the_circuit(breaker: CircuitBreaker, error: OllamaError) -> None:
    fail(breaker, error)
    assert is_refused(breaker)
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
def test_no_other_error_opens_the_circuit(breaker: CircuitBreaker, error: BaseException) -> None:
    for _ in range(10):
        fail(breaker, error)
    assert not is_refused(breaker)


def test_the_rejection_has_the_remaining_cooldown(breaker: CircuitBreaker, clock: Clock) -> None:
    down(breaker)
    clock.now += 2
    with pytest.raises(OllamaUnavailableError) as caught:
        breaker.check()
    assert caught.value.retry_after_seconds == pytest.approx(3.0)
    assert caught.value.retryable


def test_a_rejection_does_not_prolong_the_cooldown(breaker: CircuitBreaker, clock: Clock) -> None:
    down(breaker)
    for _ in range(4):
        clock.now += 1
        with pytest.raises(OllamaUnavailableError), breaker.attempt():
            pytest.fail("it was refused")
    clock.now += 1.5
    assert not is_refused(breaker)


def test_one_probe_passes_while_others_are_rejected(breaker: CircuitBreaker, clock: Clock) -> None:
    down(breaker)
    clock.now += COOLDOWN + 0.1
    with breaker.attempt():
        assert is_refused(breaker)
        assert is_refused(breaker)
    with breaker.attempt():
        assert not is_refused(breaker)  # the probe is over


def test_a_failed_probe_opens_the_circuit_again(breaker: CircuitBreaker, clock: Clock) -> None:
    down(breaker)
    clock.now += COOLDOWN + 0.1
    down(breaker)
    assert is_refused(breaker)
    clock.now += COOLDOWN + 0.1
    assert not is_refused(breaker)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), OllamaTimeoutError("slow"), ZeroDivisionError()])
def test_an_inconclusive_probe_lets_the_next_request_probe(
    breaker: CircuitBreaker, clock: Clock, error: BaseException
) -> None:
    down(breaker)
    clock.now += COOLDOWN + 0.1
    fail(breaker, error)
    with breaker.attempt():
        assert is_refused(breaker)
    assert not is_refused(breaker)


@pytest.mark.parametrize("error", [RejectedByOllamaError("400"), OllamaBusyError("503"), OllamaResponseError("500")])
def test_any_response_to_the_probe_closes_the_circuit(
    breaker: CircuitBreaker, clock: Clock, error: OllamaError
) -> None:
    down(breaker)
    clock.now += COOLDOWN + 0.1
    fail(breaker, error)
    with breaker.attempt():
        assert not is_refused(breaker)  # the probe is over


def test_a_request_that_was_not_sent_does_not_close_the_circuit(breaker: CircuitBreaker, clock: Clock) -> None:
    down(breaker)
    clock.now += COOLDOWN + 0.1
    fail(breaker, InvalidRequestError("too deep", field="body"))
    with breaker.attempt():
        assert is_refused(breaker)


def test_a_response_closes_the_circuit_before_the_cooldown_is_over(breaker: CircuitBreaker) -> None:
    down(breaker)
    breaker.succeeded()
    assert not is_refused(breaker)


def test_a_response_closes_the_circuit_during_a_probe(breaker: CircuitBreaker, clock: Clock) -> None:
    down(breaker)
    clock.now += COOLDOWN + 0.1
    with breaker.attempt():
        breaker.succeeded()
        assert not is_refused(breaker)


def test_an_earlier_request_that_fails_does_not_allow_a_second_probe(breaker: CircuitBreaker, clock: Clock) -> None:
    with pytest.raises(OllamaTimeoutError), breaker.attempt():
        down(breaker)
        clock.now += COOLDOWN + 0.1
        probe = breaker.attempt()
        probe.__enter__()
        raise OllamaTimeoutError("slow")
    assert is_refused(breaker)
    probe.__exit__(None, None, None)
    assert not is_refused(breaker)

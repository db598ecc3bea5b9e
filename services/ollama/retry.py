"""Retries of requests that certainly did not run, with exponential backoff and `Retry-After`."""

import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential_jitter,
)

from services.ollama.errors import GatewayQueueTimeoutError, OllamaBusyError, OllamaError, OllamaUnavailableError

logger = logging.getLogger(__name__)

T = TypeVar("T")

RETRYABLE = (OllamaUnavailableError, OllamaBusyError)
MAX_RETRY_AFTER_SECONDS = 3600.0
MAX_PAUSE_SECONDS = 10
"""A longer `Retry-After` is passed on to the client at once, as a waiting request occupies its slot."""


async def retry(
    attempt: Callable[[], Awaitable[T]],
    first_error: OllamaError,
    *,
    attempts: int,
    on_attempt: Callable[[], None],
    backoff_seconds: float,
    give_up_at: float,
) -> T:
    """Retry with exponential backoff after a first attempt that did not run; `attempts` includes the first.

    Each pause is at least as long as the `Retry-After` of the last response. No further attempt is made if the pause
    would exceed `MAX_PAUSE_SECONDS` or `give_up_at` (monotonic clock).

    The caller makes the first attempt without tenacity, which would add 35 µs.

    Raises:
        OllamaError: the error of the last attempt.
    """
    backoff = wait_exponential_jitter(multiplier=backoff_seconds, max=MAX_PAUSE_SECONDS, jitter=backoff_seconds)

    def wait(state: RetryCallState) -> float:
        return max(backoff(state), _retry_after_seconds(state))

    def is_too_long(state: RetryCallState) -> bool:
        seconds = state.upcoming_sleep
        if seconds <= MAX_PAUSE_SECONDS and time.monotonic() + seconds < give_up_at:
            return False
        message = _message(state)
        logger.warning(
            "attempt %d failed, not retried: the next would be in %.1f s, which is too late: %s",
            state.attempt_number,
            seconds,
            message,
        )
        return True

    retrying = AsyncRetrying(
        stop=lambda state: stop_after_attempt(attempts)(state) or is_too_long(state),
        wait=wait,
        retry=retry_if_exception(_may_repeat),
        before_sleep=_log_retry,
        reraise=True,
    )
    async for state in retrying:
        with state:
            if state.retry_state.attempt_number == 1:
                raise first_error
            on_attempt()
            return await attempt()
    raise first_error  # unreachable: tenacity reraises the last error


def _may_repeat(error: BaseException) -> bool:
    """Return whether to send a request again; one that waited in a gateway's queue would go to its end."""
    return isinstance(error, RETRYABLE) and error.retryable and not isinstance(error, GatewayQueueTimeoutError)


def _retry_after_seconds(state: RetryCallState) -> float:
    error = state.outcome and state.outcome.exception()
    return (error.wait_seconds or 0) if isinstance(error, OllamaBusyError) else 0


def _log_retry(state: RetryCallState) -> None:
    logger.warning("attempt %d failed, next in %.1f s: %s", state.attempt_number, state.upcoming_sleep, _message(state))


def _message(state: RetryCallState) -> str:
    error = state.outcome and state.outcome.exception()
    return error.log_message if isinstance(error, OllamaError) else str(error)


def parse_retry_after(value: str | None) -> float | None:
    """Return the seconds of a `Retry-After` header, at most an hour; None if it is absent or malformed.

    Accepts seconds, also fractional, and HTTP dates; a date in the past gives None.
    """
    if value is None or not value.isascii():
        return None
    text = value.strip()
    try:
        seconds = float(text) if text[:1].isdigit() else _seconds_until(text)
    except (ValueError, OverflowError):
        return None
    return min(seconds, MAX_RETRY_AFTER_SECONDS) if seconds >= 0 else None


def _seconds_until(http_date: str) -> float:
    moment = parsedate_to_datetime(http_date)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime.now(UTC)).total_seconds()

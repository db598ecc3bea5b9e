import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from services.errors import OllamaBusyError, OllamaError, OllamaUnavailableError

logger = logging.getLogger(__name__)

T = TypeVar("T")

DID_NOT_RUN = (OllamaUnavailableError, OllamaBusyError)
MAX_BACKOFF_SECONDS = 10


async def try_again(
    attempt: Callable[[], Awaitable[T]], first_error: OllamaError, *, attempts: int, backoff_seconds: float
) -> T:
    """Go on after a first attempt that certainly did not run: make others with growing pauses, `attempts` in all.

    The first is made without tenacity, which adds 35 µs to it.

    Raises:
        OllamaError: that of the last attempt.
    """
    retrying = AsyncRetrying(
        stop=stop_after_attempt(attempts),
        wait=wait_exponential_jitter(multiplier=backoff_seconds, max=MAX_BACKOFF_SECONDS, jitter=backoff_seconds),
        retry=retry_if_exception_type(DID_NOT_RUN),
        before_sleep=_log_retry,
        reraise=True,
    )
    async for state in retrying:
        with state:
            if state.retry_state.attempt_number == 1:
                raise first_error
            return await attempt()
    raise first_error  # not reached: tenacity raises the last error itself


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome and state.outcome.exception()
    seconds = state.next_action.sleep if state.next_action else 0
    logger.warning("attempt %d failed, next in %.1f s: %s", state.attempt_number, seconds, error)

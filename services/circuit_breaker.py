import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from services.ollama.errors import (
    InvalidRequestError,
    ModelStuckError,
    OllamaConnectTimeoutError,
    OllamaError,
    OllamaTimeoutError,
    OllamaUnavailableError,
)

logger = logging.getLogger(__name__)


class CircuitBreaker:
    """Circuit breaker: after a failed connection, rejects requests until a cooldown is over.

    After the cooldown one request goes through as a probe, while others are still rejected. Any response from Ollama
    closes the circuit.
    """

    def __init__(self, *, cooldown_seconds: float) -> None:
        self._cooldown_seconds = cooldown_seconds
        self._down_until: float | None = None
        self._cause: OllamaError | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether the last connection failed, and none has succeeded since."""
        return self._down_until is not None

    def check(self) -> None:
        """Reject the request if the circuit is open.

        Raises:
            OllamaUnavailableError: with the seconds until the next probe.
        """
        if self._down_until is None:
            return
        seconds_left = self._down_until - time.monotonic()
        if seconds_left > 0 or self._probing:
            cause, seconds = self._cause, max(seconds_left, 1)
            if cause is not None and not cause.retryable:
                raise OllamaUnavailableError(cause.detail, retry_after_seconds=seconds, retryable=False)
            detail = "Ollama could not be reached a moment ago; the service will try again soon."
            raise OllamaUnavailableError(detail, retry_after_seconds=seconds)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Wrap one request to Ollama; its outcome opens or closes the circuit.

        Raises:
            OllamaUnavailableError: if the circuit is open.
        """
        self.check()
        probing = self._down_until is not None
        self._probing = self._probing or probing
        try:
            yield
        except (OllamaUnavailableError, OllamaConnectTimeoutError) as error:
            self._failed(error)
            error.retry_after_seconds = error.retry_after_seconds or self._cooldown_seconds
            raise
        except OllamaError as error:
            if not isinstance(error, OllamaTimeoutError | InvalidRequestError | ModelStuckError):
                self.succeeded()
            raise
        else:
            self.succeeded()
        finally:
            if probing:
                self._probing = False

    def succeeded(self) -> None:
        """Record a response from Ollama, which closes the circuit."""
        if self._down_until is not None:
            logger.info("Ollama can be reached again")
        self._down_until = self._cause = None

    def _failed(self, error: OllamaError) -> None:
        if self._down_until is None:
            seconds = self._cooldown_seconds
            logger.warning("Ollama cannot be reached; requests are rejected for %g s: %s", seconds, error.log_message)
        self._cause = error
        self._down_until = time.monotonic() + self._cooldown_seconds

"""Exceptions of the Ollama client and service, in one hierarchy.

    OllamaError
    ├── InvalidRequestError       the request contradicts itself or the settings
    │   └── MissingCapabilityError      the model lacks a capability
    ├── ModelNotFoundError        unknown model, and no fallback
    ├── RejectedByOllamaError     Ollama responded 400, or that the model makes no embeddings
    ├── OllamaUnavailableError    unreachable, or rejected while the circuit breaker is open
    ├── OllamaBusyError           Ollama responded 503 or 429
    │   └── GatewayQueueTimeoutError    the request waited too long in the queue of a gateway
    ├── OverloadedError           the service's queue is full, or the wait was too long
    ├── OllamaTimeoutError        a timeout expired
    │   └── OllamaConnectTimeoutError   while connecting
    ├── ModelStuckError           the model hangs, and may not be unloaded now, or that did not help
    ├── OllamaResponseError       5xx, invalid data, a truncated body, a response without `done: true`
    ├── ShuttingDownError         the service is shutting down
    │   └── DrainTimeoutError           and the grace period of this request is over
    ├── NotFoundError             Ollama responded 404 for a model; leads to a fallback or a ModelNotFoundError
    └── NoSuchEndpointError       Ollama responded 404 for an endpoint

`retryable` is true where the request certainly did not run and the same request may succeed later.
"""

from typing import ClassVar

BUSY_RETRY_AFTER_SECONDS = 5.0


class OllamaError(Exception):
    """Base class; the message is safe to show to clients, without addresses and internals.

    `log_detail` holds information for the log only, such as addresses.
    """

    code: ClassVar[str] = "ollama_error"
    retryable: bool = False
    log_detail: str = ""

    def __init__(self, detail: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds

    @property
    def log_message(self) -> str:
        """The message with `log_detail`, for the log only."""
        return f"{self.detail} ({self.log_detail})" if self.log_detail else self.detail


class InvalidRequestError(OllamaError):
    """The request contradicts itself or the settings; `field` names the field at fault."""

    code = "invalid_request"

    def __init__(self, detail: str, *, field: str) -> None:
        super().__init__(detail)
        self.field = field


class MissingCapabilityError(InvalidRequestError):
    """The model lacks a capability that the request requires; nothing was sent to Ollama."""

    code = "unsupported_by_model"


class ModelNotFoundError(OllamaError):
    """The model is not installed; `available` lists the short names of those that are."""

    code = "model_not_found"

    def __init__(self, detail: str, *, available: list[str]) -> None:
        super().__init__(detail)
        self.available = available


class RejectedByOllamaError(OllamaError):
    """Ollama responded 400, or that the model does not support embeddings; the request does not suit the model."""

    code = "rejected_by_ollama"


class OllamaUnavailableError(OllamaError):
    """Ollama could not be reached; the request did not run. Not retryable if TLS is misconfigured."""

    code = "ollama_unavailable"
    retryable = True

    def __init__(
        self,
        detail: str,
        *,
        retry_after_seconds: float | None = None,
        retryable: bool = True,
        log_detail: str = "",
    ) -> None:
        super().__init__(detail, retry_after_seconds=retry_after_seconds)
        self.retryable = retryable
        self.log_detail = log_detail


class OllamaBusyError(OllamaError):
    """Ollama responded 503 or 429; the request did not run. Not retryable if a quota is exhausted.

    `wait_seconds` is Ollama's `Retry-After`, or None if it sent none.
    """

    code = "ollama_busy"
    retryable = True

    def __init__(self, detail: str, *, wait_seconds: float | None = None, retryable: bool = True) -> None:
        super().__init__(detail, retry_after_seconds=BUSY_RETRY_AFTER_SECONDS if wait_seconds is None else wait_seconds)
        self.wait_seconds = wait_seconds
        self.retryable = retryable


class GatewayQueueTimeoutError(OllamaBusyError):
    """No server became free in time for a request in the queue of a gateway; the service does not send it again."""


class OverloadedError(OllamaError):
    """The service's queue is full; nothing was sent to Ollama."""

    code = "overloaded"
    retryable = True


class OllamaTimeoutError(OllamaError):
    """A timeout expired; the message names its setting."""

    code = "timeout"


class OllamaConnectTimeoutError(OllamaTimeoutError):
    """No connection could be opened in time; the request did not run."""

    retryable = True


class ModelStuckError(OllamaError):
    """The model hangs; the request did not run."""

    code = "model_stuck"
    retryable = True


class OllamaResponseError(OllamaError):
    """Ollama's response was an error or invalid; `status` is its HTTP status if there was one.

    `server` is the name of the server that sent it, where a gateway names it.
    """

    def __init__(self, detail: str, *, status: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.server: str | None = None


class ShuttingDownError(OllamaError):
    """The service is shutting down; nothing was sent to Ollama."""

    code = "shutting_down"
    retryable = True


class DrainTimeoutError(ShuttingDownError):
    """The service is shutting down, and the request did not finish within the grace period."""

    retryable = False


class NotFoundError(OllamaError):
    """Ollama responded 404 with JSON: the model is not installed."""

    code = "model_not_found"


class NoSuchEndpointError(OllamaError):
    """Ollama responded 404 without an error object: it is too old for the endpoint, or not Ollama."""

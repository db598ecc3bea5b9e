"""What can go wrong, as one tree.

    OllamaError
    ├── InvalidRequestError       the request contradicts itself or the settings
    ├── ModelNotFoundError        unknown model, and no fallback to be had
    ├── RejectedByOllamaError     Ollama's own 400
    ├── OllamaUnavailableError    unreachable, or refused at once while it counts as down
    ├── OllamaBusyError           Ollama answered 503 or 429
    ├── OverloadedError           our own queue is full, or the wait in it too long
    ├── OllamaTimeoutError        a deadline passed
    │   └── OllamaConnectTimeoutError   before a connection was open
    ├── OllamaResponseError       5xx, garbage, a body cut short, an answer without `done: true`
    ├── ShuttingDownError         the service is ending
    │   └── DrainTimeoutError           and would not wait for the request any longer
    ├── NotFoundError             Ollama's own 404; becomes a fallback or a ModelNotFoundError
    └── NoSuchEndpointError       an endpoint that Ollama does not have

`retryable` is true where the request certainly did not run and the same request may succeed later.
"""

from typing import ClassVar

BUSY_RETRY_AFTER_SECONDS = 5.0


class OllamaError(Exception):
    """An operation failed; the message is a sentence for people, free of addresses and internals.

    `log_detail` adds what only the log may show, such as addresses.
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
        """The message with what only the log may show."""
        return f"{self.detail} ({self.log_detail})" if self.log_detail else self.detail


class InvalidRequestError(OllamaError):
    """The request contradicts itself or the settings; `field` is the one to change."""

    code = "invalid_request"

    def __init__(self, detail: str, *, field: str) -> None:
        super().__init__(detail)
        self.field = field


class ModelNotFoundError(OllamaError):
    """The model is not installed; `available` lists the short names of those that are."""

    code = "model_not_found"

    def __init__(self, detail: str, *, available: list[str]) -> None:
        super().__init__(detail)
        self.available = available


class RejectedByOllamaError(OllamaError):
    """Ollama refused the request with its own 400."""

    code = "rejected_by_ollama"


class OllamaUnavailableError(OllamaError):
    """Ollama could not be reached; nothing was run. Not retryable where the settings of TLS are the cause."""

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
    """Ollama answered 503 or 429; nothing was run. Not retryable where a quota is used up.

    `wait_seconds` is Ollama's own `Retry-After`, or None if it sent none.
    """

    code = "ollama_busy"
    retryable = True

    def __init__(self, detail: str, *, wait_seconds: float | None = None, retryable: bool = True) -> None:
        super().__init__(detail, retry_after_seconds=BUSY_RETRY_AFTER_SECONDS if wait_seconds is None else wait_seconds)
        self.wait_seconds = wait_seconds
        self.retryable = retryable


class OverloadedError(OllamaError):
    """Our own queue has no place; nothing was sent to Ollama."""

    code = "overloaded"
    retryable = True


class OllamaTimeoutError(OllamaError):
    """A deadline passed; the message names its setting."""

    code = "timeout"


class OllamaConnectTimeoutError(OllamaTimeoutError):
    """No connection could be opened in time; nothing was run."""

    retryable = True


class OllamaResponseError(OllamaError):
    """Ollama's answer was an error or no answer at all; `status` is its HTTP status when it had one."""

    def __init__(self, detail: str, *, status: int | None = None) -> None:
        super().__init__(detail)
        self.status = status


class ShuttingDownError(OllamaError):
    """The service is ending; nothing was sent to Ollama."""

    code = "shutting_down"
    retryable = True


class DrainTimeoutError(ShuttingDownError):
    """The service is ending, and the request was under way for longer than it could wait."""

    retryable = False


class NotFoundError(OllamaError):
    """Ollama answered 404 in JSON: it does not have the model."""

    code = "model_not_found"


class NoSuchEndpointError(OllamaError):
    """Ollama answered 404 in plain text: it is too old for the endpoint, or not Ollama."""

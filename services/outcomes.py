"""When Ollama last answered a generation request, and when it last failed to."""

import time

from services.ollama.errors import (
    InvalidRequestError,
    ModelNotFoundError,
    NotFoundError,
    OllamaError,
    OverloadedError,
    RejectedByOllamaError,
    ShuttingDownError,
)

NO_FAILURE_OF_OLLAMA = (
    InvalidRequestError,
    ModelNotFoundError,
    NotFoundError,
    OverloadedError,
    RejectedByOllamaError,
    ShuttingDownError,
)


class Outcomes:
    """The last success and the last failure of Ollama in generation requests; Unix times in seconds.

    A client that leaves, a error_from_response of our own, and a request that Ollama rightly refuses count as neither.
    """

    def __init__(self) -> None:
        self.last_success: float | None = None
        self.last_failure: float | None = None
        self.last_failure_code: str | None = None

    def succeeded(self) -> None:
        """Note that an answer is whole."""
        self.last_success = time.time()

    def failed(self, error: OllamaError) -> None:
        """Note how a request ended that was sent to Ollama."""
        if not isinstance(error, NO_FAILURE_OF_OLLAMA):
            self.last_failure = time.time()
            self.last_failure_code = error.code

"""Error responses of Ollama."""

from typing import ClassVar

from simulator.wire.replies import JSON, JSON_BARE


class RefusedError(Exception):
    """A request is rejected with an `{"error": ...}` response."""

    media_type: ClassVar[str] = JSON

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class RunnerError(RefusedError):
    """A failure after a stream has started and before its first line; its content type has no charset."""

    media_type = JSON_BARE

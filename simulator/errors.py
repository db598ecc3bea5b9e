"""The refusals Ollama answers with."""

from typing import ClassVar

from simulator.replies import JSON, JSON_BARE


class RefusedError(Exception):
    """A request that is answered with `{"error": ...}`."""

    media_type: ClassVar[str] = JSON

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class RunnerError(RefusedError):
    """A failure that Ollama meets when the answer has begun but nothing is sent yet."""

    media_type = JSON_BARE

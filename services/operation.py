"""Measurements of one call of a model, for metrics, traces and the log line of its request."""

import asyncio
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

from services.ollama.errors import OllamaError
from services.ollama.events import Done

OperationName = Literal["chat", "text_completion", "embeddings"]
OPERATION_NAMES: dict[str, OperationName] = {
    "/api/chat": "chat",
    "/api/generate": "text_completion",
    "/api/embed": "embeddings",
    "/api/embeddings": "embeddings",
}
"""By the path of Ollama's API; the names are those of OpenTelemetry's GenAI conventions."""

CANCELLED = "cancelled"
MS_PER_SECOND = 1000


@dataclass(slots=True)
class Operation:
    """One generation, chat or embedding, from its wait for a slot to its last chunk.

    Fields ending in `_at` are seconds of the monotonic clock; tokens and `output_seconds` are Ollama's figures. `model`
    is the one that responded, or would have. `error` is an error code, `cancelled` if the caller left, or None.
    """

    name: OperationName
    requested_model: str | None
    begun_at: float = field(default_factory=time.monotonic)
    ended_at: float = 0.0
    queue_seconds: float | None = None
    sent_at: float | None = None
    first_chunk_at: float | None = None
    attempts: int = 0
    retries: int = 0
    model: str | None = None
    fallback: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None
    output_seconds: float | None = None
    finish_reason: str | None = None
    is_whole: bool = False
    error: str | None = None
    known_model: str | None = None
    """The short name of `model` if it is installed, else None. Suitable as a label, as clients cannot add others."""
    known_requested_model: str | None = None
    """The same for `requested_model`."""

    def complete(self, done: Done) -> None:
        """Record the end of a complete response."""
        self.is_whole = True
        self.input_tokens = done.usage.prompt_tokens
        self.output_tokens = done.usage.completion_tokens
        self.finish_reason = done.done_reason
        milliseconds = done.timings.completion_ms
        self.output_seconds = None if milliseconds is None else milliseconds / MS_PER_SECOND


current_operation: ContextVar[Operation | None] = ContextVar("current_operation", default=None)
request_operations: ContextVar[list[Operation] | None] = ContextVar("request_operations", default=None)
"""Collects the operations of the current HTTP request; None outside a request."""

OnOperation = Callable[[Operation], None]


class Tracked:
    """Context manager that follows an operation and passes it to `on_end` when it has ended.

    `installed_name` returns the short name of an installed model, and None for any other name.
    """

    def __init__(
        self, operation: Operation, installed_name: Callable[[str | None], str | None], on_end: OnOperation
    ) -> None:
        self._operation = operation
        self._installed_name = installed_name
        self._on_end = on_end

    def __enter__(self) -> Operation:
        current_operation.set(self._operation)
        if (operations := request_operations.get()) is not None:
            operations.append(self._operation)
        return self._operation

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        operation = self._operation
        operation.ended_at = time.monotonic()
        if operation.error is None and not operation.is_whole:
            operation.error = _code_of(error)
        operation.known_requested_model = operation.known_model = self._installed_name(operation.requested_model)
        if operation.model != operation.requested_model:
            operation.known_model = self._installed_name(operation.model)
        self._on_end(operation)


def _code_of(error: BaseException | None) -> str:
    match error:
        case OllamaError():
            return error.code
        case None | asyncio.CancelledError() | GeneratorExit():
            return CANCELLED
        case _:
            return "internal_error"


def count_attempt(*, is_retry: bool = False) -> None:
    """Count one request to Ollama."""
    if (operation := current_operation.get()) is not None:
        operation.attempts += 1
        operation.retries += is_retry


def note_queue_wait(requested_at: float, entered_at: float, *, has_slot: bool) -> None:
    """Record the time in the queue, and whether a slot was granted."""
    if (operation := current_operation.get()) is not None:
        operation.queue_seconds = entered_at - requested_at
        operation.sent_at = entered_at if has_slot else None

"""Queue time and upstream attempts of the current request, collected for its log line."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class CallStats:
    """Seconds spent waiting for a slot, and the number of requests sent to Ollama."""

    queue_seconds: float | None = None
    attempts: int = 0


call_stats: ContextVar[CallStats | None] = ContextVar("call_stats", default=None)
"""The statistics of the current request; None where they are not collected."""


def count_attempt() -> None:
    """Count one request to Ollama."""
    if (stats := call_stats.get()) is not None:
        stats.attempts += 1


def add_queue_seconds(seconds: float) -> None:
    """Add to the time spent in the queue."""
    if (stats := call_stats.get()) is not None:
        stats.queue_seconds = (stats.queue_seconds or 0.0) + seconds

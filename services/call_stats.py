"""Counts of one caller's work in the queue and upstream, for its log line."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class CallStats:
    """How long a caller waited for a place, in seconds, and how many requests were sent to Ollama for it."""

    queue_seconds: float | None = None
    attempts: int = 0


call_stats: ContextVar[CallStats | None] = ContextVar("call_stats", default=None)
"""What the work under way counts into; None where nobody wants to know."""


def count_attempt() -> None:
    """Count one request to Ollama."""
    if (stats := call_stats.get()) is not None:
        stats.attempts += 1


def add_queue_seconds(seconds: float) -> None:
    """Add to the time that was spent in the queue."""
    if (stats := call_stats.get()) is not None:
        stats.queue_seconds = (stats.queue_seconds or 0.0) + seconds

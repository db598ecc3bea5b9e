"""What is known of the request under way, for its log lines and its problem document."""

from contextvars import ContextVar
from dataclasses import dataclass

request_id: ContextVar[str] = ContextVar("request_id", default="-")


@dataclass(slots=True)
class RequestNotes:
    """What the parts of a request tell the one log line at its end."""

    status: int | None = None
    model: str | None = None
    fallback: bool | None = None
    tokens: int | None = None
    first_token_at: float | None = None
    error: str | None = None


request_notes: ContextVar[RequestNotes] = ContextVar("request_notes")


def note(**values: object) -> None:
    """Add to the log line of the request under way."""
    notes = request_notes.get(None)
    if notes is not None:
        for name, value in values.items():
            setattr(notes, name, value)

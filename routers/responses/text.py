"""Encoder of plain text: only the text of the response."""

from routers.responses.stream_format import StreamFormat
from services.ollama.events import Event, Token


def encode_text(event: Event) -> bytes:
    """Return the text of a token, and nothing for other events."""
    return event.text.encode() if isinstance(event, Token) else b""


TEXT = StreamFormat("text/plain; charset=utf-8", encode_text, has_errors=False)

"""The format of a streamed response."""

from collections.abc import Callable
from dataclasses import dataclass

from services.ollama.events import Event


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """A media type and the encoder of its events.

    Attributes:
        media_type: The `Content-Type` of the response.
        encode: Converts an event to bytes.
        has_errors: Errors are written to the stream; otherwise an error closes the connection.
        has_heartbeat: An idle stream gets a comment as heartbeat.
        is_negotiated: The format depends on `Accept`; adds `Vary: Accept`.
    """

    media_type: str
    encode: Callable[[Event], bytes]
    has_errors: bool = True
    has_heartbeat: bool = False
    is_negotiated: bool = True

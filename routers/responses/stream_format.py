"""Forms in which a stream of events can be written."""

from collections.abc import Callable
from dataclasses import dataclass

from services.ollama.events import Event


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """A media type and the encoder of its events.

    `has_errors` tells whether a failure can be written in the stream; without it the connection is cut. Formats with
    `has_heartbeat` get a comment in silence. `is_negotiated` adds `Vary: Accept`.
    """

    media_type: str
    encode: Callable[[Event], bytes]
    has_errors: bool = True
    has_heartbeat: bool = False
    is_negotiated: bool = True

"""Content negotiation: selects the stream format by the `Accept` header."""

from contextlib import suppress

from routers.responses.ndjson import NDJSON
from routers.responses.sse import SSE
from routers.responses.stream_format import StreamFormat
from routers.responses.text import TEXT

FORMATS = {"text/event-stream": SSE, "application/x-ndjson": NDJSON, "text/plain": TEXT, "text/*": TEXT, "*/*": TEXT}


def negotiate_stream_format(accept: str) -> StreamFormat:
    """Return the format that an `Accept` header prefers; plain text if it names no supported format."""
    best, stream_format = (0.0, False), TEXT
    for media_range in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in media_range.split(";"))
        rank = (_quality(parameters), "*" not in media_type)
        if media_type in FORMATS and rank[0] > 0 and rank > best:
            best, stream_format = rank, FORMATS[media_type]
    return stream_format


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            with suppress(ValueError):
                return float(value)
            return 0.0
    return 1.0

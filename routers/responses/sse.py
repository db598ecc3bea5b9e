"""Encoder of Server-Sent Events for `/api/ollama`."""

import orjson

from routers.responses.stream_format import StreamFormat
from services.ollama.events import Event, Token


def encode_sse(event: Event) -> bytes:
    """Encode an event with its type as `event` and its JSON as `data`."""
    if type(event) is Token:  # formatted by hand: 0.2 µs instead of 1.4
        return b'event: token\ndata: {"type":"token","text":%s}\n\n' % orjson.dumps(event.text)
    return b"event: %s\ndata: %s\n\n" % (event.type.encode(), orjson.dumps(event))


SSE = StreamFormat("text/event-stream", encode_sse, has_heartbeat=True)

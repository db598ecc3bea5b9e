"""Encoder of newline-delimited JSON for `/api/ollama`."""

import orjson

from routers.responses.stream_format import StreamFormat
from services.ollama.events import Event


def encode_ndjson(event: Event) -> bytes:
    """Encode an event as a line of JSON."""
    return orjson.dumps(event) + b"\n"


NDJSON = StreamFormat("application/x-ndjson", encode_ndjson)

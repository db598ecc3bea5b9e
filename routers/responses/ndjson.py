"""Newline-delimited JSON: the encoder of the typed API's stream."""

import orjson

from routers.responses.stream_format import StreamFormat
from services.ollama.events import Event


def encode_ndjson(event: Event) -> bytes:
    """Return an event as a line of JSON."""
    return orjson.dumps(event) + b"\n"


NDJSON = StreamFormat("application/x-ndjson", encode_ndjson)

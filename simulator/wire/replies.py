"""Responses as endpoints return them, before they are sent."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

JSON = "application/json; charset=utf-8"
JSON_BARE = "application/json"
NDJSON = "application/x-ndjson"
PLAIN = "text/plain"

_GO_ESCAPES = (
    (b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026"),
    ("\u2028".encode(), b"\\u2028"), ("\u2029".encode(), b"\\u2029"),
)  # fmt: skip


@dataclass(frozen=True)
class Reply:
    """A response that is not streamed."""

    body: bytes
    status: int = 200
    content_type: str | None = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stream:
    """A response streamed line by line; lines are generated as they are sent."""

    lines: Iterator[bytes]
    seconds_per_line: float


def dumps(value: Any) -> bytes:
    """Encode JSON with the escapes of Go's encoder."""
    text = orjson.dumps(value)
    # In JSON these characters only occur in strings.
    for plain, escaped in _GO_ESCAPES:
        if plain in text:
            text = text.replace(plain, escaped)
    return text


def json_reply(value: Any, status: int = 200, media_type: str = JSON) -> Reply:
    """Return a JSON response, without a trailing newline."""
    return Reply(dumps(value), status, media_type)


def error_reply(status: int, message: str, media_type: str = JSON) -> Reply:
    """Return an `{"error": message}` response."""
    return json_reply({"error": message}, status, media_type)

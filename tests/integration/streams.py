"""Parse the service's streams into events."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

SSE = "text/event-stream"
NDJSON = "application/x-ndjson"
TEXT = "text/plain"

Event = dict[str, Any]


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    """Yield the events of an SSE or NDJSON stream as they arrive."""
    if response.content_type == NDJSON:
        async for chunk in response.content:
            yield json.loads(chunk)
        return
    assert response.content_type == SSE
    kind, data = "", ""
    async for raw in response.content:
        line = raw.decode().rstrip("\r\n")
        if line.startswith("event:"):
            kind = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            data += line.removeprefix("data:").strip()
        elif not line and data:
            event = json.loads(data)
            assert event["type"] == kind
            yield event
            kind, data = "", ""


def text_of(stream: list[Event]) -> str:
    """Return the text of the token events."""
    return "".join(event["text"] for event in stream if event["type"] == "token")

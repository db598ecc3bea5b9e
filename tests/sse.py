"""Parsers of complete streams."""

import json
from typing import Any

from tests.api import Answer
from tests.kinds import sse_events

SSE = "text/event-stream"
NDJSON = "application/x-ndjson"
TEXT = "text/plain"
FORMS = [SSE, NDJSON, TEXT]
EVENT_FORMS = [SSE, NDJSON]

Event = dict[str, Any]


def events_in(answer: Answer) -> list[Event]:
    """Return the events of an SSE or NDJSON stream, which must be completely well-formed."""
    text = answer.body.decode()
    if answer.media_type == NDJSON:
        assert text.endswith("\n")
        return [json.loads(line) for line in text.split("\n")[:-1]]
    assert answer.media_type == SSE
    assert text.endswith("\n\n")
    return sse_events(answer.body)


def text_of(events: list[Event], kind: str = "token") -> str:
    """Return the text of the events of one type."""
    return "".join(event["text"] for event in events if event["type"] == kind)

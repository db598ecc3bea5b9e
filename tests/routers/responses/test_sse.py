"""Framing of Server-Sent Events."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routers.responses.sse import encode_sse
from services.ollama.events import Error, Event, Start, Thinking, Token
from tests.kinds import sse_events

EVENTS: list[Event] = [
    Start("gpt-oss", "gpt-oss", fallback=False, request_id="id"),
    Thinking("Hm"),
    Token("Hi"),
    Token("a\r\n\n\u2028\u2029\x00b"),
    Error("timeout", "Too late.", retryable=False),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_an_event_has_its_type_and_one_line_of_json(event: Event) -> None:
    frame = encode_sse(event)
    assert frame.endswith(b"\n\n")
    assert frame.count(b"\n") == 3
    assert b"\r" not in frame
    assert sse_events(frame) == [orjson.loads(orjson.dumps(event))]


@given(st.text())
def test_a_token_is_framed_as_any_event(text: str) -> None:
    assert sse_events(encode_sse(Token(text))) == [{"type": "token", "text": text}]
    assert encode_sse(Token(text)) == encode_sse(Thinking(text)).replace(b"thinking", b"token", 2)

"""Selection of the stream format by `Accept`."""

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routers.responses.negotiation import negotiate_stream_format
from tests.api import GENERATE, call, post, streamed
from tests.sse import FORMS, NDJSON, SSE, TEXT

ACCEPTS: list[tuple[str | None, str]] = [
    (None, TEXT),
    ("", TEXT),
    ("*/*", TEXT),
    ("text/plain", TEXT),
    ("text/html", TEXT),
    ("application/json", TEXT),
    ("application/*", TEXT),
    ("garbage", TEXT),
    (";q=1", TEXT),
    (SSE, SSE),
    ("TEXT/Event-Stream", SSE),
    ("text/event-stream;charset=utf-8", SSE),
    ("text/event-stream, */*", SSE),
    ("*/*, text/event-stream", SSE),
    ("text/*, text/event-stream", SSE),
    ("text/html, text/event-stream;q=0.1", SSE),
    ("text/event-stream;q=0", TEXT),
    ("text/event-stream;q=0, application/x-ndjson;q=0.1", NDJSON),
    ("text/event-stream;q=0.5, application/x-ndjson;q=0.9", NDJSON),
    ("text/event-stream;q=0.9, application/x-ndjson;q=0.5", SSE),
    ("text/event-stream;q=0.5, text/plain", TEXT),
    ("text/event-stream;q=0.5, */*;q=0.8", TEXT),
    ("text/event-stream ; q = 0.5 , application/x-ndjson ; q = 0.6", NDJSON),
    ("application/x-ndjson, text/event-stream", NDJSON),
    (NDJSON, NDJSON),
    ("application/x-ndjson;q=high, text/event-stream;q=0.1", SSE),
    ("text/event-stream;q=nan", TEXT),
]


@pytest.mark.parametrize(("accept", "form"), [pair for pair in ACCEPTS if pair[0] is not None])
def test_accept_selects_the_format(accept: str, form: str) -> None:
    assert negotiate_stream_format(accept).media_type.partition(";")[0] == form


@pytest.mark.parametrize(("accept", "form"), [(None, TEXT), ("text/html", TEXT), (SSE, SSE), (NDJSON, NDJSON)])
async def test_the_stream_has_the_format_that_accept_selects(
    client: aiohttp.ClientSession, url: str, accept: str | None, form: str
) -> None:
    answer = await post(client, url, "generate", streamed(GENERATE), accept)
    assert answer.headers["Content-Type"] == (form if form != TEXT else "text/plain; charset=utf-8")


async def test_accept_may_be_several_header_lines(client: aiohttp.ClientSession, url: str) -> None:
    headers = [("Accept", "text/html"), ("Accept", SSE)]
    answer = await call(client, "POST", f"{url}/api/ollama/generate", json=streamed(GENERATE), headers=headers)
    assert answer.media_type == SSE


ranges = st.sampled_from([SSE, NDJSON, TEXT, "text/*", "*/*", "text/html", "TEXT/EVENT-STREAM", "", "/", "é"])
qualities = st.sampled_from(
    ["", ";q=0", ";q=0.5", ";q=1", "; q=0.123", ";q=x", ";q=", ";charset=utf-8;q=0.2", ";;", "="]
)
accepts = st.lists(st.tuples(ranges, qualities).map("".join), max_size=5).map(",".join)


@given(accepts | st.text())
def test_any_accept_header_selects_a_format(accept: str) -> None:
    assert negotiate_stream_format(accept).media_type.partition(";")[0] in FORMS


@given(accepts)
def test_the_format_with_the_highest_quality_is_selected(accept: str) -> None:
    assert negotiate_stream_format(f"{accept},{NDJSON};q=1.1").media_type == NDJSON


@given(accepts)
def test_a_format_that_is_not_accepted_is_not_selected(accept: str) -> None:
    chosen = negotiate_stream_format(accept).media_type
    assert chosen.partition(";")[0] == TEXT or chosen in accept.lower()


@given(accepts)
def test_case_and_spaces_are_ignored(accept: str) -> None:
    spaced = accept.upper().replace(",", " , ").replace(";", " ; ")
    assert negotiate_stream_format(spaced) == negotiate_stream_format(accept)

"""JSON bodies: accepted syntax and the limits of their values."""

import json
from collections.abc import Coroutine
from typing import Any

import orjson
import pytest
from starlette.exceptions import HTTPException

from routers.json_body import MAX_ESCAPES, read_json
from services.requests.value_count import MAX_PARTS, MAX_VALUES


def run(steps: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that only yields, without an event loop."""
    while True:
        try:
            steps.send(None)
        except StopIteration as end:
            return end.value


def read(data: bytes) -> Any:
    return run(read_json(data))


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (rb'"abc \ud83d"', "abc \ufffd"),
        (rb'"\ude00 abc"', "\ufffd abc"),
        (rb'"\uD83D\uDE00 \uD83d"', "\U0001f600 \ufffd"),
        (rb'"\ud83d\ud83d\ude00\ude00"', "\ufffd\U0001f600\ufffd"),
        (rb'"\ud83d\u0041"', "\ufffdA"),
        (rb'"\ud83d\n"', "\ufffd\n"),
        (rb'"\\ud83d \ud83d"', "\\ud83d \ufffd"),
        (rb'"\\\ud83d\\\\ude00"', "\\\ufffd\\\\ude00"),
        (rb'"\ud7ff \ud83d \ue000"', "\ud7ff \ufffd \ue000"),
        (rb'{"\ud83d": [{"a": "\udfff"}]}', {"\ufffd": [{"a": "\ufffd"}]}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'\xef\xbb\xbf"\\ud83d"', "\ufffd"),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (rb'"\u0000"', "\0"),
    ],
)
def test_json_that_other_parsers_accept_is_parsed_like_in_ollama(body: bytes, value: Any) -> None:
    assert read(body) == value


NO_JSON = [b"", b"NaN", b"[Infinity]", b"1e400", b'"\n"', b"\xef\xbb\xbf", b"[" * 1025 + b"]" * 1025]
NO_JSON += [
    b'"\xff"',
    b'"\xed\xa0\xbd"',
    b'"\\ud83"',
    b'"\\ud83d',
    b'["\\ud83d" NaN]',
    b'"\x01\\ud83d"',
    b'"\x01\x01\\ud83d"',
]


@pytest.mark.parametrize("body", NO_JSON, ids=lambda body: str(body[:20]))
def test_invalid_json_is_rejected(body: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        read(body)


@pytest.mark.parametrize(
    ("body", "at"), [(b"\xff", 0), (b'{"a":"\xff"}', 6), (b'\xef\xbb\xbf{"a":"\xff"}', 6), (b'"\xed\xa0\xbd"', 1)]
)
def test_the_error_names_the_first_byte_that_is_not_utf_8(body: bytes, at: int) -> None:
    with pytest.raises(orjson.JSONDecodeError) as caught:
        read(body)
    assert (caught.value.msg, caught.value.pos) == ("the text is not UTF-8", at)


def test_lone_surrogates_are_not_replaced_in_a_body_with_too_many_escapes() -> None:
    with pytest.raises(orjson.JSONDecodeError):
        read(b'"' + rb"\n" * MAX_ESCAPES + rb'\ud83d"')


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"1," * MAX_VALUES + b"1]",
        b"[" + b"[]," * (MAX_PARTS - 2) + b"[]]",
        b"[" + b'"",' * (MAX_PARTS - 2) + b'""]',
        b'"' + b"[{,:" * MAX_VALUES + b'"',
        b'"' + b'\\"[,' * MAX_VALUES + b'"',
        b'"' + b"\\\\" * MAX_VALUES * 2 + b'"',
        b'"' + b"a, b " * MAX_VALUES + b'"',
        json.dumps([[["text, with [brackets]"] * 10] * 10] * 900).encode(),
    ],
    ids=range(8),
)
def test_a_body_with_few_values_is_parsed(body: bytes) -> None:
    assert read(body) == json.loads(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"1," * (MAX_VALUES + 1) + b"1]",
        b"[" + b"[]," * MAX_PARTS + b"1]",
        b"{" + b'"":1,' * MAX_PARTS + b'"":1}',
        b"[" * 3 * MAX_PARTS,
        b'["' + b'","' * MAX_PARTS + b'"]',
        b'["\\\\"' + b',"\\\\"' * MAX_PARTS + b"]",
    ],
    ids=range(6),
)
def test_a_body_with_too_many_values_is_rejected_before_parsing(body: bytes) -> None:
    with pytest.raises(HTTPException, match=f"413: The body has more than {MAX_PARTS} strings, arrays and objects"):
        read(body)

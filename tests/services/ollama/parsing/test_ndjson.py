import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ollama.parsing.ndjson import MAX_LINE_BYTES, LineSplitter, LineTooLongError


def read(splitter: LineSplitter, chunks: list[bytes]) -> list[bytes]:
    """Return the lines, including an incomplete last one."""
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return lines + ([rest] if (rest := splitter.take_rest()) else [])


def test_lines_are_returned_when_they_are_complete() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b'{"a":') == []
    assert splitter.feed(b'1}\n{"b":2}\n{"c"') == [b'{"a":1}', b'{"b":2}']
    assert splitter.feed(b":3}\n") == [b'{"c":3}']
    assert splitter.take_rest() == b""


def test_blank_lines_are_skipped() -> None:
    assert read(LineSplitter(), [b"\n\n a\r\n", b"\r", b"\n \t\nb\n\n"]) == [b" a\r", b"b"]


def test_the_last_line_needs_no_newline() -> None:
    splitter = LineSplitter()
    assert read(splitter, [b"a\nb", b"c"]) == [b"a", b"bc"]
    assert splitter.take_rest() == b""  # returned once


@pytest.mark.parametrize("chunks", [[b"x" * 11], [b"x" * 6, b"x" * 5], [b"a\n" + b"x" * 6, b"x" * 5]])
def test_a_line_above_the_limit_is_rejected_before_its_end(chunks: list[bytes]) -> None:
    splitter = LineSplitter(max_line_bytes=10)
    with pytest.raises(LineTooLongError):
        read(splitter, chunks)


def test_a_line_at_the_limit_is_read() -> None:
    assert read(LineSplitter(max_line_bytes=10), [b"x" * 10, b"\n", b"y" * 10 + b"\n"]) == [b"x" * 10, b"y" * 10]


def test_lines_of_16_mib_are_read() -> None:
    line = b"x" * MAX_LINE_BYTES
    pieces = [line[at : at + 65536] for at in range(0, len(line), 65536)]
    assert read(LineSplitter(), [*pieces, b"\n"]) == [line]
    assert MAX_LINE_BYTES == 16 * 1024 * 1024


@given(st.lists(st.text(alphabet="aé🙂 \r"), max_size=8), st.lists(st.integers(0, 60), max_size=8), st.booleans())
def test_lines_do_not_depend_on_how_the_bytes_are_split(texts: list[str], cuts: list[int], ended: bool) -> None:
    data = "\n".join(texts).encode() + (b"\n" if ended else b"")
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[start:end] for start, end in itertools.pairwise(places)]
    expected = [line for text in texts if (line := text.encode()).strip()]
    assert [line.strip() for line in read(LineSplitter(), chunks)] == [line.strip() for line in expected]

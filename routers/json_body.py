"""JSON request bodies: their parts are counted before parsing, so that no body stops the event loop for long.

Parsing and validating hold the event loop, and their cost follows the number of parts, not of bytes: 20 MB of text
take 50 ms, 20 MB of `[[],[],…]` several seconds and 600 MB. So they are counted first, in pieces.
"""

import asyncio
import re
from typing import Any

import orjson
from starlette.exceptions import HTTPException

MAX_PARTS = 100_000
"""Texts (keys too), lists and objects in a body."""
MAX_VALUES = 600_000
"""Values in a body that follow another one: numbers cost less."""
SMALL_BYTES = 2 * MAX_PARTS
"""No valid body of this size holds too much: a part takes two bytes at least."""
LARGE_BYTES = 1_000_000
"""From this size on, other tasks get a turn between the steps that hold the event loop."""
CHUNK_BYTES = 262_144
MAX_ESCAPES = 200_000

TOO_MUCH = (
    f"The body holds more than {MAX_PARTS} texts, lists and objects, or more than {MAX_VALUES} values. "
    "Binary data, such as an image, has to be sent as base64 text."
)
_NO_MARKS = bytes(byte for byte in range(256) if byte not in b'"[{,')
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONE_SURROGATE = re.compile(
    rb"\\ud(?:[89abAB][0-9a-fA-F]{2}(?!\\ud[c-fC-F][0-9a-fA-F]{2})"
    rb"|[c-fC-F][0-9a-fA-F]{2}(?<!\\ud[89abAB][0-9a-fA-F]{2}\\ud[c-fC-F][0-9a-fA-F]{2}))"
)


async def read_json(data: bytes) -> Any:
    """Parse a JSON body of bounded cost.

    Half of a surrogate pair becomes U+FFFD, as in Ollama, and a byte order mark is skipped. NaN, Infinity, numbers
    beyond a double, and nesting deeper than 1024 are refused. Of equal keys the last one counts.

    Raises:
        HTTPException: 413 if it holds too many parts or values.
        orjson.JSONDecodeError: if it is no JSON.
    """
    if len(data) > SMALL_BYTES:
        await check_values(data)
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if not (data.startswith(_BYTE_ORDER_MARK) or "surrogate in string" in error.msg):
            raise
    await give_way(data)
    repaired = await replace_lone_surrogates(data.removeprefix(_BYTE_ORDER_MARK))
    await give_way(data)
    return orjson.loads(repaired)


async def give_way(data: bytes) -> None:
    """Let other tasks run between two steps that take long because a body is large."""
    if len(data) >= LARGE_BYTES:
        await asyncio.sleep(0)


async def check_values(data: bytes) -> None:
    """Refuse a body of too many parts or values, counted by its quotes, brackets and commas outside of strings.

    Raises:
        HTTPException: 413.
    """
    quotes = brackets = commas = at = 0
    while at < len(data):
        end = _chunk_end(data, at)
        chunk = data[at:end].replace(b"\\\\", b"").replace(b'\\"', b"")
        pieces = chunk.translate(None, _NO_MARKS).split(b'"')
        outside = b"".join(pieces[quotes % 2 :: 2])
        quotes += len(pieces) - 1
        commas += outside.count(b",")
        brackets += len(outside) - outside.count(b",")
        if quotes // 2 + brackets > MAX_PARTS or commas > MAX_VALUES:
            raise HTTPException(413, TOO_MUCH)
        at = end
        await asyncio.sleep(0)


def _chunk_end(data: bytes, at: int) -> int:
    """Return where a chunk may end: not between a backslash and what it escapes."""
    end = at + CHUNK_BYTES
    if data[end - 1 : end] != b"\\":
        return end
    chunk = data[at:end]
    return end + (len(chunk) - len(chunk.rstrip(b"\\"))) % 2


async def replace_lone_surrogates(data: bytes) -> bytes:
    r"""Replace `\ud800` to `\udfff` by `\ufffd` where it is no half of a pair."""
    if b"\x01" in data or data.count(b"\\") > MAX_ESCAPES:
        return data
    # With escaped backslashes out of the way, each backslash begins an escape.
    marked = data.replace(b"\\\\", b"\x01\x01").replace(b"\\uD", b"\\ud")
    await give_way(data)
    mended = _LONE_SURROGATE.sub(rb"\\ufffd", marked)
    await give_way(data)
    return mended.replace(b"\x01\x01", b"\\\\")

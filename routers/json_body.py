"""JSON request bodies, parsed at bounded cost."""

import asyncio
import re
from typing import Any

import orjson
from starlette.exceptions import HTTPException

from services.requests.value_count import MAX_PARTS, MAX_VALUES, has_too_many_values

LARGE_BYTES = 1_000_000
"""From this size on, other tasks may run between the steps that block the event loop."""
MAX_ESCAPES = 200_000

TOO_MUCH = (
    f"The body has more than {MAX_PARTS} strings, arrays and objects, or more than {MAX_VALUES} values. "
    "Send binary data, such as an image, as base64 text."
)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONE_SURROGATE = re.compile(
    rb"\\ud(?:[89abAB][0-9a-fA-F]{2}(?!\\ud[c-fC-F][0-9a-fA-F]{2})"
    rb"|[c-fC-F][0-9a-fA-F]{2}(?<!\\ud[89abAB][0-9a-fA-F]{2}\\ud[c-fC-F][0-9a-fA-F]{2}))"
)


async def read_json(data: bytes) -> Any:
    """Parse a JSON body after checking the number of its values.

    A lone surrogate becomes U+FFFD, as in Ollama, and a byte order mark is skipped. NaN, Infinity, numbers that exceed
    a double, and nesting deeper than 1024 are rejected. The last of duplicate keys counts.

    Raises:
        HTTPException: 413 if it has too many parts or values.
        orjson.JSONDecodeError: if it is not valid JSON.
    """
    if await has_too_many_values(data):
        raise HTTPException(413, TOO_MUCH)
    try:
        return _parse(data)
    except orjson.JSONDecodeError as error:
        if not (data.startswith(_BYTE_ORDER_MARK) or "surrogate in string" in error.msg):
            raise
    await yield_if_large(data)
    repaired = await replace_lone_surrogates(data.removeprefix(_BYTE_ORDER_MARK))
    await yield_if_large(data)
    return _parse(repaired)


def _parse(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if "not valid UTF-8" in error.msg:  # orjson reports byte 0, and surrogates as the reason
            raise _not_utf8(data) from error
        raise


def _not_utf8(data: bytes) -> orjson.JSONDecodeError:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return orjson.JSONDecodeError("the text is not UTF-8", "", error.start)
    return orjson.JSONDecodeError("the text is not UTF-8", "", 0)


async def yield_if_large(data: bytes) -> None:
    """Let other tasks run between two steps that take long for a large body."""
    if len(data) >= LARGE_BYTES:
        await asyncio.sleep(0)


async def replace_lone_surrogates(data: bytes) -> bytes:
    r"""Replace `\ud800` to `\udfff` by `\ufffd` unless they are part of a surrogate pair."""
    if b"\x01" in data or data.count(b"\\") > MAX_ESCAPES:
        return data
    # Once escaped backslashes are replaced, each backslash starts an escape sequence.
    marked = data.replace(b"\\\\", b"\x01\x01").replace(b"\\uD", b"\\ud")
    await yield_if_large(data)
    repaired = _LONE_SURROGATE.sub(rb"\\ufffd", marked)
    await yield_if_large(data)
    return repaired.replace(b"\x01\x01", b"\\\\")

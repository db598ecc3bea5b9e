"""Counts the values in a JSON body, on whose number the cost of parsing depends.

Parsing and validation block the event loop: 20 MB of text take 50 ms, 20 MB of `[[],[],…]` take several seconds and
600 MB of memory. So the values are counted first, in chunks.
"""

import asyncio

MAX_PARTS = 100_000
"""Maximum number of strings (including keys), arrays and objects in a body."""
MAX_VALUES = 600_000
"""Maximum number of commas, which separate values of any kind; numbers cost less than the parts above."""
SMALL_BYTES = 2 * MAX_PARTS
"""Bodies up to this size cannot exceed the limits, as a part takes at least two bytes."""
CHUNK_BYTES = 262_144

_NOT_COUNTED = bytes(byte for byte in range(256) if byte not in b'"[{,')


async def has_too_many_values(data: bytes) -> bool:
    """Return whether a body is too expensive to parse.

    Quotes are counted, and brackets and commas outside of strings. Other tasks may run between the chunks.
    """
    if len(data) <= SMALL_BYTES:
        return False
    quotes = brackets = commas = at = 0
    while at < len(data):
        end = _chunk_end(data, at)
        chunk = data[at:end].replace(b"\\\\", b"").replace(b'\\"', b"")
        pieces = chunk.translate(None, _NOT_COUNTED).split(b'"')
        outside = b"".join(pieces[quotes % 2 :: 2])
        quotes += len(pieces) - 1
        commas += outside.count(b",")
        brackets += len(outside) - outside.count(b",")
        if quotes // 2 + brackets > MAX_PARTS or commas > MAX_VALUES:
            return True
        at = end
        await asyncio.sleep(0)
    return False


def _chunk_end(data: bytes, at: int) -> int:
    """Return the end of a chunk, which must not split an escape sequence."""
    end = at + CHUNK_BYTES
    if data[end - 1 : end] != b"\\":
        return end
    chunk = data[at:end]
    return end + (len(chunk) - len(chunk.rstrip(b"\\"))) % 2

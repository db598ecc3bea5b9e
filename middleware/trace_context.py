"""W3C Trace Context: the `traceparent` header, https://www.w3.org/TR/trace-context/."""

import re

VERSION_00_LENGTH = 55
TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


def trace_id_in(traceparent: bytes) -> str | None:
    """Return the trace id of a `traceparent` header, or None if it is malformed."""
    match = TRACEPARENT.fullmatch(traceparent)
    if match is None or (traceparent.startswith(b"00") and len(traceparent) != VERSION_00_LENGTH):
        return None
    return match[1].decode()

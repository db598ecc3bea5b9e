"""Newline-delimited JSON: splits a byte stream into lines, and drops the large `context` field."""

MAX_LINE_BYTES = 16 * 1024 * 1024
LARGE_BYTES = 65_536
_CONTEXT_KEY = b'"context":['


class LineTooLongError(ValueError):
    """A line is longer than `MAX_LINE_BYTES`."""


class LineSplitter:
    r"""Splits bytes into lines as they arrive, without the `\n` and without blank lines."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Add a chunk; return the lines it completes.

        Raises:
            LineTooLongError: if a line exceeds the limit.
        """
        first, newline, rest = chunk.partition(b"\n")
        self._parts.append(first)
        self._size += len(first)
        if self._size > self._max_line_bytes:
            msg = f"a line of over {self._max_line_bytes} bytes"
            raise LineTooLongError(msg)
        if not newline:
            return []
        lines = [b"".join(self._parts), *rest.split(b"\n")]
        tail = lines.pop()
        self._parts = [tail]
        self._size = len(tail)
        return [line for line in lines if line and not line.isspace()]

    def take_rest(self) -> bytes:
        r"""Remove and return what follows the last `\n`: Ollama's single-object responses have none at the end."""
        rest, self._parts, self._size = b"".join(self._parts).strip(), [], 0
        return rest


def without_context(chunk: bytes) -> bytes:
    """Return a large line with `context` emptied: its token ids are unused and take seconds to parse.

    The key cannot occur inside a JSON string, where its quotes would be escaped.
    """
    if len(chunk) < LARGE_BYTES:
        return chunk
    start = chunk.find(_CONTEXT_KEY) + len(_CONTEXT_KEY)
    end = chunk.find(b"]", start)
    return chunk[:start] + chunk[end:] if start >= len(_CONTEXT_KEY) and end > 0 else chunk

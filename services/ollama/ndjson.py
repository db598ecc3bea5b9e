"""Newline-delimited JSON: lines from any split of bytes, and the token list that large ones carry."""

MAX_LINE_BYTES = 16 * 1024 * 1024
LARGE_BYTES = 65_536
_KEY = b'"context":['


class LineTooLongError(ValueError):
    """A line is longer than `MAX_LINE_BYTES`."""


class LineSplitter:
    r"""Collects bytes as they arrive and gives whole lines, without their `\n` and without blank ones."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that this chunk completes.

        Raises:
            LineTooLongError: if a line grows beyond the limit.
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

    def rest(self) -> bytes:
        r"""Return what came after the last `\n`: Ollama's single-object answers end without one."""
        return b"".join(self._parts).strip()


def without_context(chunk: bytes) -> bytes:
    """Return a large line with an empty `context`, the token ids that nobody reads: they take seconds to parse.

    The key cannot occur in a JSON string, where its quotes are escaped.
    """
    if len(chunk) < LARGE_BYTES:
        return chunk
    start = chunk.find(_KEY) + len(_KEY)
    end = chunk.find(b"]", start)
    return chunk[:start] + chunk[end:] if start >= len(_KEY) and end > 0 else chunk

"""The `context` of Ollama's last generate chunk: the token ids of prompt and answer, which nobody here reads."""

LARGE_BYTES = 65_536
_KEY = b'"context":['


def without_context(chunk: bytes) -> bytes:
    """Return a large chunk with an empty `context`: millions of numbers take seconds and much memory to parse.

    The key cannot occur in a JSON string, where its quotes are escaped.
    """
    if len(chunk) < LARGE_BYTES:
        return chunk
    start = chunk.find(_KEY) + len(_KEY)
    end = chunk.find(b"]", start)
    return chunk[:start] + chunk[end:] if start >= len(_KEY) and end > 0 else chunk

"""What Ollama means by an answer that is not 200, in words that may be shown.

See https://docs.ollama.com/api/errors.
"""

import re
from contextlib import suppress

import orjson

from services.errors import (
    NoSuchEndpointError,
    NotFoundError,
    OllamaBusyError,
    OllamaError,
    OllamaResponseError,
    RejectedByOllamaError,
)

BUSY_RETRY_AFTER_SECONDS = 5.0
MAX_RETRY_AFTER_SECONDS = 3600.0
ADDRESS = re.compile(
    r"""\w+://[^\s"']+ | \b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b | \[[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(%\w+)?\](:\d+)?
    | \blocalhost(:\d+)?\b | (?<=\blookup\ )\S+
    | registry\.ollama\.ai/(library/)? | (?<![\w/])/([\w.-]+/)+[\w.-]*""",
    re.VERBOSE,
)


def refusal(status: int, body: bytes, retry_after: str | None) -> OllamaError:
    """Return the error for an answer with this status, body and `Retry-After` header."""
    try:
        message = ollamas_words(orjson.loads(body)["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message = None
    match status:
        case 503 | 429:
            detail = "Ollama is busy and takes no more requests at the moment."
            return OllamaBusyError(detail, retry_after_seconds=_seconds(retry_after))
        case 404 if message is not None:
            return NotFoundError(message)
        case 404:
            return NoSuchEndpointError("Ollama does not have this endpoint; it may be too old, or not Ollama.")
        case 400 if message is not None:
            return RejectedByOllamaError(f"Ollama refused the request: {message}")
        case _:
            reason = f": {message}" if message else "."
            return OllamaResponseError(f"Ollama answered with status {status}{reason}", status=status)


def ollamas_words(message: object) -> str:
    """Return the first line of a message, without addresses, paths and the JSON a runner wraps it in."""
    text = str(message)
    with suppress(orjson.JSONDecodeError, KeyError, TypeError):
        text = str(orjson.loads(text)["error"]["message"])
    return ADDRESS.sub("", text.partition("\n")[0])


def _seconds(retry_after: str | None) -> float:
    if retry_after is None or not retry_after.isdecimal():
        return BUSY_RETRY_AFTER_SECONDS
    return min(float(retry_after), MAX_RETRY_AFTER_SECONDS)

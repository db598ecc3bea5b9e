"""Reads the model and the token counts from requests and responses that are relayed unparsed.

Parsing a response would double the cost of relaying it. Quotes within JSON strings are escaped, so generated text
cannot be mistaken for these fields.
"""

import re
from typing import NamedTuple

from services.ollama.types.model_names import MAX_LENGTH, ModelName, short_name

HEAD_BYTES = 4096
TAIL_BYTES = 65_536
NANOSECONDS_PER_SECOND = 1_000_000_000

_MODEL = re.compile(rb'(?<!\\)"model"\s*:\s*"([^"\\]{1,%d})"' % MAX_LENGTH)
_NUMBER = re.compile(rb"\s*(\d{1,18})")
_TEXT = re.compile(rb'\s*"([a-z_]{1,40})"')


class Figures(NamedTuple):
    """Figures of the last line of a response; None if absent."""

    model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    completion_seconds: float | None
    done_reason: str | None


def model_in(data: bytes, start: int = 0) -> str | None:
    """Return the short name of the first model named at the beginning of a request or response, if it is valid."""
    found = _MODEL.search(data, start, start + HEAD_BYTES)
    if found is None:
        return None
    name = found[1].decode(errors="replace").strip()
    try:
        ModelName.parse(name)
    except ValueError:
        return None
    return short_name(name)


def figures_in(body: bytes) -> Figures:
    """Return the figures in the last line of a response to `/api/chat`, `/api/generate` or an embedding.

    See https://docs.ollama.com/api/usage.
    """
    tail = body[-TAIL_BYTES:]
    nanoseconds = _number(tail, b'"eval_duration":')
    reason = _value(tail, b'"done_reason":', _TEXT)
    return Figures(
        model=model_in(body, body.rfind(b"\n", 0, -1) + 1),
        prompt_tokens=_number(tail, b'"prompt_eval_count":'),
        completion_tokens=_number(tail, b'"eval_count":'),
        completion_seconds=None if nanoseconds is None else nanoseconds / NANOSECONDS_PER_SECOND,
        done_reason=None if reason is None else reason.decode(),
    )


def _number(tail: bytes, name: bytes) -> int | None:
    value = _value(tail, name, _NUMBER)
    return None if value is None else int(value)


def _value(tail: bytes, name: bytes, pattern: re.Pattern[bytes]) -> bytes | None:
    at = tail.rfind(name)
    found = pattern.match(tail, at + len(name)) if at >= 0 else None
    return None if found is None else found[1]

"""The `keep_alive` duration: how long Ollama keeps a model loaded."""

import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

MAX_SECONDS = 9_000_000_000  # Go counts nanoseconds in 64 bits
MAX_LENGTH = 40
GO_DURATION = re.compile(r"-?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+", re.ASCII)


def parse_keep_alive(value: object) -> float | str:
    """Parse seconds (a number) or a Go duration (a string); negative means for ever, 0 unloads at once.

    A number in a string counts as seconds: environment values are always strings, and Ollama rejects those.

    Raises:
        ValueError: if it is neither.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_SECONDS:
        return value
    if isinstance(value, str) and len(value) <= MAX_LENGTH:
        text = value.strip()
        if re.fullmatch(r"-?\d+(\.\d+)?", text, re.ASCII):
            return parse_keep_alive(float(text) if "." in text else int(text))
        if GO_DURATION.fullmatch(text):
            return text
    msg = "seconds as a number, or a duration with a unit such as 30s, 5m or 1h30m; -1 is for ever, 0 unloads at once"
    raise ValueError(msg)


KeepAlive = Annotated[
    float | str,
    BeforeValidator(parse_keep_alive),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}], "examples": ["5m", -1, 0]}),
]

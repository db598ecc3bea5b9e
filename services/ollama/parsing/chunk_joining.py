"""Joins the chunks of a streamed response into the complete response of the same request.

Ollama does the same for `"stream": false`. See https://docs.ollama.com/api/streaming.
"""

from typing import Any

import orjson

from services.ollama.error_mapping import invalid_response

_TEXTS = ("response", "content", "thinking")
_LISTS = ("tool_calls", "logprobs")


def as_streamed(data: bytes) -> bytes:
    """Return a request, a JSON object, with `"stream": true`; of repeated fields Ollama takes the last."""
    return data.rstrip()[:-1] + b',"stream":true}'


def join_chunks(body: bytes) -> bytes:
    """Return the complete response for the lines of a streamed one.

    Raises:
        OllamaResponseError: if a line is not a JSON object, or there is none.
    """
    try:
        chunks = [orjson.loads(line) for line in body.splitlines() if line]
    except orjson.JSONDecodeError as error:
        raise invalid_response() from error
    if not chunks or not all(isinstance(chunk, dict) for chunk in chunks):
        raise invalid_response()
    whole: dict[str, Any] = chunks[-1]
    messages = [chunk.get("message") for chunk in chunks]
    if isinstance(whole.get("message"), dict):
        whole["message"] = whole["message"] | _joined([one for one in messages if isinstance(one, dict)])
    whole |= _joined(chunks)
    order = dict.fromkeys([*chunks[0], *whole])  # the figures are last, where `raw_figures` looks for them
    return orjson.dumps({name: whole[name] for name in order if name in whole})


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    texts = {
        name: "".join(part[name] for part in parts if isinstance(part.get(name), str))
        for name in _TEXTS
        if any(name in part for part in parts)
    }
    lists = {
        name: [item for part in parts if isinstance(part.get(name), list) for item in part[name]]
        for name in _LISTS
        if any(name in part for part in parts)
    }
    return texts | lists

"""Parser of Ollama's responses to `/api/generate` and `/api/chat`.

See https://docs.ollama.com/api/generate and https://docs.ollama.com/api/chat.
"""

from collections.abc import Iterable
from typing import Any, Literal

import orjson

from services.ollama.errors import OllamaResponseError
from services.ollama.events import Done, Event, Thinking, Timings, Token, ToolCall, Usage, Warning_
from services.ollama.parsing.model_list import whole_number
from services.ollama.types.json_schema import JsonSchema

NANOSECONDS_PER_MS = 1_000_000
MS_PER_SECOND = 1000
FIGURES = (
    "prompt_eval_count",
    "eval_count",
    "total_duration",
    "load_duration",
    "prompt_eval_duration",
    "eval_duration",
)

ResponseFormat = Literal["json"] | dict[str, Any] | None


class ResponseParser:
    """Parses response chunks into events; stateful, as the final warnings depend on all chunks.

    `warnings` are those known before the response.
    """

    def __init__(self, response_format: ResponseFormat, warnings: Iterable[Warning_] = ()) -> None:
        self._format = response_format
        self._warnings = list(warnings)
        self._text: list[str] = []
        self._has_text = False
        self._has_thinking = False
        self.done: Done | None = None

    def events(self, chunk: dict[str, Any]) -> list[Event]:
        """Return the events of one chunk.

        Raises:
            OllamaResponseError: if it is malformed.
        """
        message = chunk.get("message")
        if message is None:
            message, text = chunk, chunk.get("response")
        elif isinstance(message, dict):
            text = message.get("content")
        else:
            raise _malformed()
        events: list[Event] = []
        thinking = message.get("thinking")
        if thinking:
            self._has_thinking = True
            events.append(Thinking(_text(thinking)))
        if text:
            self._has_text = True
            if self._format is not None:
                self._text.append(_text(text))
            events.append(Token(_text(text)))
        if calls := message.get("tool_calls"):
            self._has_text = True
            events.extend(map(ToolCall, _objects(calls)))
        if chunk.get("done") is True:
            self.done = self._done(chunk)
            events.append(self.done)
        return events

    def _done(self, chunk: dict[str, Any]) -> Done:
        reason = _text(chunk.get("done_reason") or "") or None
        warnings = self._warnings
        if reason == "length" and self._has_thinking and not self._has_text:
            warnings.append("empty_response_thinking")
        if self._format is not None and not satisfies("".join(self._text), self._format):
            warnings.append("invalid_json")
        return Done(reason, *_figures(chunk), warnings)


def incomplete_response() -> OllamaResponseError:
    """Return the error for a response without `done: true`."""
    return OllamaResponseError("Ollama's response ended before it was complete.")


def satisfies(text: str, response_format: Literal["json"] | dict[str, Any]) -> bool:
    """Return whether a text is valid JSON and, if there is a schema, conforms to it."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return response_format == "json" or JsonSchema.of(response_format).validator.is_valid(value)


def _figures(chunk: dict[str, Any]) -> tuple[Usage, Timings]:
    prompt, completion, *nanoseconds = [whole_number(chunk.get(name)) for name in FIGURES]
    total = None if prompt is None or completion is None else prompt + completion
    total_ms, load_ms, prompt_ms, completion_ms = [
        None if duration is None else duration / NANOSECONDS_PER_MS for duration in nanoseconds
    ]
    rate = round(completion / completion_ms * MS_PER_SECOND, 2) if completion and completion_ms else None
    return Usage(prompt, completion, total), Timings(total_ms, load_ms, prompt_ms, completion_ms, rate)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _malformed()
    return value


def _objects(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _malformed()
    return value


def _malformed() -> OllamaResponseError:
    return OllamaResponseError("Ollama's response does not have the expected structure.")

"""What is asked of a model that writes, and what it gives: whole, and as a stream of events."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import Field

from services.ollama.errors import OllamaResponseError
from services.ollama.model_list import whole_number
from services.ollama.types.json_schema import JsonSchema

NANOSECONDS_PER_MS = 1_000_000
NANOSECONDS_PER_SECOND = 1_000_000_000

# None of these is frozen: the frozen take three times as long to make, 6 µs a whole chat.

Warning_ = Literal["fallback_model", "empty_response_thinking", "invalid_json"]


@dataclass(slots=True, kw_only=True)
class CompletionRequest:
    """One request for text. `content` holds Ollama's own fields for what is to be answered.

    See https://docs.ollama.com/api/generate and https://docs.ollama.com/api/chat.
    """

    path: Literal["/api/generate", "/api/chat"]
    model: str | None
    content: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    response_format: Literal["json"] | dict[str, Any] | None = None
    keep_alive: float | str | None = None
    allow_fallback: bool = True


@dataclass(slots=True)
class ResolvedModel:
    """Which model answers: `model` by its short name, `requested_model` as it was asked for."""

    model: str
    requested_model: str
    fallback: bool


@dataclass(slots=True)
class Usage:
    """Tokens counted by Ollama; null where it gave no number. Thinking counts as completion."""

    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None


@dataclass(slots=True)
class Timings:
    """Milliseconds measured by Ollama; null where it gave no number. Loading includes waiting for a slot."""

    total_ms: float | None
    load_ms: float | None
    prompt_ms: float | None
    completion_ms: float | None
    tokens_per_second: float | None


@dataclass(slots=True)
class Start:
    """The first event: which model answers."""

    type: Literal["start"] = field(default="start", init=False)
    model: str
    requested_model: str
    fallback: bool
    request_id: str


@dataclass(slots=True)
class Thinking:
    """A piece of the model's reasoning."""

    type: Literal["thinking"] = field(default="thinking", init=False)
    text: str


@dataclass(slots=True)
class Token:
    """A piece of the answer."""

    type: Literal["token"] = field(default="token", init=False)
    text: str


@dataclass(slots=True)
class ToolCall:
    """A call the model wants made: `{"function": {"name", "arguments"}}`."""

    type: Literal["tool_call"] = field(default="tool_call", init=False)
    tool_call: dict[str, Any]


@dataclass(slots=True)
class Done:
    """The last event of an answer that is whole."""

    type: Literal["done"] = field(default="done", init=False)
    done_reason: Annotated[str | None, Field(examples=["stop"])]
    usage: Usage
    timings: Timings
    warnings: list[Warning_]


@dataclass(slots=True)
class Error:
    """The last event of an answer that failed after its first byte."""

    type: Literal["error"] = field(default="error", init=False)
    code: Annotated[str, Field(examples=["timeout"])]
    detail: str
    retryable: bool


Event = Start | Thinking | Token | ToolCall | Done | Error


@dataclass(slots=True)
class Completion:
    """A whole answer."""

    served: ResolvedModel
    text: str
    thinking: str | None
    tool_calls: list[dict[str, Any]]
    done: Done

    @classmethod
    def read(cls, chunk: dict[str, Any], request: CompletionRequest, served: ResolvedModel) -> Self:
        """Read an answer that came as one object.

        Raises:
            OllamaResponseError: if it is not done, or misshapen.
        """
        text = thinking = ""
        tool_calls: list[dict[str, Any]] = []
        for event in Answer(request, served).events(chunk):
            match event:
                case Token():
                    text = event.text
                case Thinking():
                    thinking = event.text
                case ToolCall():
                    tool_calls.append(event.tool_call)
                case Done():
                    return cls(served, text, thinking or None, tool_calls, event)
        raise incomplete_response()


class Answer:
    """Reads Ollama's chunks into events, and keeps what the last one needs to know about those before."""

    def __init__(self, request: CompletionRequest, served: ResolvedModel) -> None:
        self._format = request.response_format
        self._fallback = served.fallback
        self._text: list[str] = []
        self._has_text = False
        self._has_thinking = False
        self.is_done = False

    def events(self, chunk: dict[str, Any]) -> list[Event]:
        """Return the events of one chunk.

        Raises:
            OllamaResponseError: if it has not the shape of Ollama's.
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
            self.is_done = True
            events.append(self._done(chunk))
        return events

    def _done(self, chunk: dict[str, Any]) -> Done:
        reason = _text(chunk.get("done_reason") or "") or None
        warnings: list[Warning_] = []
        if self._fallback:
            warnings.append("fallback_model")
        if reason == "length" and self._has_thinking and not self._has_text:
            warnings.append("empty_response_thinking")
        if self._format is not None and not satisfies("".join(self._text), self._format):
            warnings.append("invalid_json")
        return Done(reason, _usage(chunk), _timings(chunk), warnings)


def incomplete_response() -> OllamaResponseError:
    """Return the error for an answer without `done: true`."""
    return OllamaResponseError("Ollama's answer ended before it was done.")


def satisfies(text: str, response_format: Literal["json"] | dict[str, Any]) -> bool:
    """Tell whether a text is JSON, and as the schema says when there is one."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return response_format == "json" or JsonSchema.of(response_format).validator.is_valid(value)


def _usage(chunk: dict[str, Any]) -> Usage:
    prompt, completion = number(chunk, "prompt_eval_count"), number(chunk, "eval_count")
    total = None if prompt is None or completion is None else prompt + completion
    return Usage(prompt, completion, total)


def _timings(chunk: dict[str, Any]) -> Timings:
    tokens, nanoseconds = number(chunk, "eval_count"), number(chunk, "eval_duration")
    rate = round(tokens / nanoseconds * NANOSECONDS_PER_SECOND, 2) if tokens and nanoseconds else None
    return Timings(
        total_ms=_ms(chunk, "total_duration"),
        load_ms=_ms(chunk, "load_duration"),
        prompt_ms=_ms(chunk, "prompt_eval_duration"),
        completion_ms=_ms(chunk, "eval_duration"),
        tokens_per_second=rate,
    )


def _ms(chunk: dict[str, Any], name: str) -> float | None:
    nanoseconds = number(chunk, name)
    return None if nanoseconds is None else nanoseconds / NANOSECONDS_PER_MS


def number(chunk: dict[str, Any], name: str) -> int | None:
    """Return a number of an answer, or None where it is no whole number of 0 or more."""
    return whole_number(chunk.get(name))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _malformed()
    return value


def _objects(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _malformed()
    return value


def _malformed() -> OllamaResponseError:
    return OllamaResponseError("Ollama's answer has not the shape it should have.")

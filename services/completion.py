"""Completion requests and responses, complete and as a stream of events."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Literal, Self

from services.ollama.errors import OllamaResponseError
from services.ollama.events import Done, Event, Thinking, Token, ToolCall, Warning_
from services.ollama.response_parser import ResponseFormat, ResponseParser, incomplete_response
from services.ollama.stream_reader import StreamReader


@dataclass(slots=True, kw_only=True)
class CompletionRequest:
    """A generate or chat request. `content` holds Ollama's own fields: the prompt or the messages.

    See https://docs.ollama.com/api/generate and https://docs.ollama.com/api/chat.
    """

    path: Literal["/api/generate", "/api/chat"]
    model: str | None
    content: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    response_format: ResponseFormat = None
    keep_alive: float | str | None = None
    allow_fallback: bool = True


@dataclass(slots=True)
class ResolvedModel:
    """The model that responds (`model`, its short name), and the one that was requested (`requested_model`)."""

    model: str
    requested_model: str
    fallback: bool


@dataclass(slots=True)
class Completion:
    """A complete response."""

    served: ResolvedModel
    text: str
    thinking: str | None
    tool_calls: list[dict[str, Any]]
    done: Done

    @classmethod
    def read(cls, chunk: dict[str, Any], request: CompletionRequest, resolved: ResolvedModel) -> Self:
        """Parse a response that is one JSON object.

        Raises:
            OllamaResponseError: if it is incomplete or malformed.
        """
        text = thinking = ""
        tool_calls: list[dict[str, Any]] = []
        for event in _parser(request, resolved).events(chunk):
            match event:
                case Token():
                    text = event.text
                case Thinking():
                    thinking = event.text
                case ToolCall():
                    tool_calls.append(event.tool_call)
                case Done():
                    return cls(resolved, text, thinking or None, tool_calls, event)
        raise incomplete_response()

    @classmethod
    async def collect(cls, stream: "CompletionStream") -> Self:
        """Read a streamed response to its end.

        Raises:
            OllamaError: as iterating over the stream does.
        """
        text: list[str] = []
        thinking: list[str] = []
        tool_calls: list[dict[str, Any]] = []
        async for events in stream:
            for event in events:
                match event:
                    case Token():
                        text.append(event.text)
                    case Thinking():
                        thinking.append(event.text)
                    case ToolCall():
                        tool_calls.append(event.tool_call)
        if stream.done is None:
            raise incomplete_response()
        return cls(stream.served, "".join(text), "".join(thinking) or None, tool_calls, stream.done)


class CompletionStream:
    """A streamed response: iterates over batches of events, each batch being what arrived together.

    `is_reloaded` says that the model hung and was reloaded for it. `done` is its last event, once that has been read.
    """

    def __init__(
        self, resolved: ResolvedModel, reader: StreamReader, request: CompletionRequest, *, is_reloaded: bool = False
    ) -> None:
        self.served = resolved
        self.done: Done | None = None
        self._reader = reader
        self._parser = _parser(request, resolved, is_reloaded=is_reloaded)

    @property
    def is_done(self) -> bool:
        """Whether `Done` has been read."""
        return self._parser.is_done

    async def __aiter__(self) -> AsyncIterator[list[Event]]:
        """Yield batches of events up to `Done`.

        Raises:
            OllamaError: if the response is interrupted, or ends without `done: true`.
        """
        parser = self._parser
        while not parser.is_done:
            chunks = await self._reader.read()
            if not chunks:
                raise incomplete_response()
            events: list[Event] = []
            try:
                for chunk in takewhile(lambda _: not parser.is_done, chunks):
                    events += parser.events(chunk)
            except OllamaResponseError:
                if events:
                    yield events  # deliver what preceded the bad chunk
                raise
            if events and isinstance(events[-1], Done):
                self.done = events[-1]
            yield events
        await self._reader.read_to_end()


def _parser(request: CompletionRequest, resolved: ResolvedModel, *, is_reloaded: bool = False) -> ResponseParser:
    warnings: list[Warning_] = ["fallback_model"] if resolved.fallback else []
    return ResponseParser(request.response_format, [*warnings, "model_reloaded"] if is_reloaded else warnings)

"""Completion requests and responses, complete and as a stream of events."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Literal, Protocol, Self

from services.ollama.errors import OllamaResponseError
from services.ollama.events import Done, Event, Thinking, Token, ToolCall, Warning_
from services.ollama.parsing.response_parser import ResponseFormat, ResponseParser, incomplete_response
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
    truncate: bool | None = None
    shift: bool | None = None
    keep_alive: float | str | None = None
    allow_fallback: bool = True


@dataclass(slots=True)
class ResolvedModel:
    """The model that responds (`model`, its short name), and the one that was requested (`requested_model`).

    `warnings` are those known before it responds.
    """

    model: str
    requested_model: str
    fallback: bool
    warnings: list[Warning_] = field(default_factory=list)


class Ending(Protocol):
    """Completes the last event of a response."""

    @property
    def is_known(self) -> bool:
        """Whether `finish` returns without waiting."""

    async def finish(self, done: Done) -> None:
        """Complete the last event."""


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
    """A streamed response: iterates over batches of events, each batch being what arrived together."""

    def __init__(
        self, resolved: ResolvedModel, reader: StreamReader, request: CompletionRequest, ending: Ending
    ) -> None:
        self.served = resolved
        self._reader = reader
        self._ending = ending
        self._parser = _parser(request, resolved)

    @property
    def done(self) -> Done | None:
        """The last event, once it has been read."""
        return self._parser.done

    async def __aiter__(self) -> AsyncIterator[list[Event]]:
        """Yield batches of events up to `Done`.

        Raises:
            OllamaError: if the response is interrupted, or ends without `done: true`.
        """
        parser = self._parser
        while parser.done is None:
            chunks = await self._reader.read()
            if not chunks:
                raise incomplete_response()
            events: list[Event] = []
            try:
                for chunk in takewhile(lambda _: parser.done is None, chunks):
                    events += parser.events(chunk)
            except OllamaResponseError:
                if events:
                    yield events  # deliver what preceded the bad chunk
                raise
            if events and isinstance(done := events[-1], Done):
                if not self._ending.is_known and len(events) > 1:
                    yield events[:-1]  # do not delay the text
                    events = [done]
                await self._ending.finish(done)
            yield events
        await self._reader.read_to_end()


def _parser(request: CompletionRequest, resolved: ResolvedModel) -> ResponseParser:
    warnings: list[Warning_] = ["fallback_model"] if resolved.fallback else []
    return ResponseParser(request.response_format, warnings + resolved.warnings)

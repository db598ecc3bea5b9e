"""Completion requests and responses, whole and as a stream of events."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Literal, Self

from services.ollama.errors import OllamaResponseError
from services.ollama.events import Done, Event, Thinking, Token, ToolCall
from services.ollama.response_parser import ResponseFormat, ResponseParser, incomplete_response
from services.ollama.stream_reader import StreamReader


@dataclass(slots=True, kw_only=True)
class CompletionRequest:
    """One request for text. `content` holds Ollama's own fields for what is to be answered.

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
    """Which model answers: `model` by its short name, `requested_model` as it was asked for."""

    model: str
    requested_model: str
    fallback: bool


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
        for event in _parser(request, served).events(chunk):
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


class CompletionStream:
    """An answer as it comes: iterate over batches of events, those that arrived together in one."""

    def __init__(self, served: ResolvedModel, reader: StreamReader, request: CompletionRequest) -> None:
        self.served = served
        self._reader = reader
        self._parser = _parser(request, served)

    @property
    def is_done(self) -> bool:
        """Whether `Done` has been read."""
        return self._parser.is_done

    async def __aiter__(self) -> AsyncIterator[list[Event]]:
        """Give the events up to `Done`.

        Raises:
            OllamaError: if the answer breaks off, or ends without `done: true`.
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
                    yield events  # what came before the bad chunk is not lost
                raise
            yield events
        await self._reader.read_to_end()


def _parser(request: CompletionRequest, served: ResolvedModel) -> ResponseParser:
    return ResponseParser(request.response_format, ["fallback_model"] if served.fallback else [])

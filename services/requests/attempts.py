"""One attempt of a completion on one model, watched in case the model hangs."""

from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from config import Settings
from services.completion import Completion, CompletionRequest, CompletionStream, ResolvedModel
from services.ollama.stream_reader import StreamReader
from services.ollama.timeouts import deadline
from services.requests.request_builder import completion_body
from services.requests.truncation import PromptTruncation
from services.stuck_models.in_flight import InFlightRequest
from services.upstream import Upstream


class Attempt:
    """Sends a completion request to one model."""

    def __init__(
        self, upstream: Upstream, settings: Settings, request: CompletionRequest, resolved: ResolvedModel, model: str
    ) -> None:
        self._upstream = upstream
        self._settings = settings
        self._request = request
        self._resolved = resolved
        self._model = model
        self._truncation = PromptTruncation(upstream, settings, request, resolved, model)

    async def complete(self) -> Completion:
        """Return a complete response; it is streamed by Ollama if it matters when the model begins.

        Raises:
            OllamaError: if it fails.
        """
        if self._upstream.stuck_models.needs_streams:
            seconds = self._settings.ollama_request_timeout
            async with deadline(seconds, "OLLAMA_REQUEST_TIMEOUT", "its response"), AsyncExitStack() as stack:
                return await Completion.collect(await self.open_stream(stack, idle_seconds=seconds))
        response = await self._truncation.send(self._post, self._body(stream=False))
        completion = Completion.read(response, self._request, self._resolved)
        self._upstream.stuck_models.learn(self._model, completion.done)
        await self._truncation.finish(completion.done)
        return completion

    async def open_stream(self, stack: AsyncExitStack, *, idle_seconds: float | None = None) -> CompletionStream:
        """Open a streamed response; leaving the stack closes it.

        Raises:
            OllamaError: if it fails before its first chunk.
        """
        reader, in_flight = await self._truncation.send(
            partial(self._open, stack, idle_seconds), self._body(stream=True)
        )
        stream = CompletionStream(self._resolved, reader, self._request, self._truncation)
        stack.callback(self._note_end, in_flight, stream)
        return stream

    def _body(self, *, stream: bool) -> dict[str, Any]:
        return completion_body(self._settings, self._request, self._model, stream=stream)

    def _in_flight(self, *, is_whole: bool) -> InFlightRequest:
        request = self._request
        return self._upstream.stuck_models.request(request.path, self._model, request.content, is_whole=is_whole)

    async def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        with self._in_flight(is_whole=True) as in_flight:
            response = await in_flight.open(lambda: self._upstream.client.post(self._request.path, body))
            in_flight.finish()
        self._note_reload(in_flight)
        return response

    async def _open(
        self, stack: AsyncExitStack, idle_seconds: float | None, body: dict[str, Any]
    ) -> tuple[StreamReader, InFlightRequest]:
        in_flight = stack.enter_context(self._in_flight(is_whole=False))
        opening = partial(self._upstream.client.stream, self._request.path, body, idle_seconds)
        reader = await in_flight.open(lambda: stack.enter_async_context(opening()))
        self._note_reload(in_flight)
        return reader, in_flight

    def _note_reload(self, in_flight: InFlightRequest) -> None:
        if in_flight.is_reloaded:
            self._resolved.warnings.append("model_reloaded")

    def _note_end(self, in_flight: InFlightRequest, stream: CompletionStream) -> None:
        if stream.done is not None:
            in_flight.finish()
            self._upstream.stuck_models.learn(self._model, stream.done)

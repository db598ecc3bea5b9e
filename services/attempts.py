"""One attempt of a completion on one model, watched for a model that hangs."""

from contextlib import AsyncExitStack

from config import Settings
from services.completion import Completion, CompletionRequest, CompletionStream, ResolvedModel
from services.ollama.timeouts import deadline
from services.request_builder import completion_body
from services.stuck_models.in_flight import InFlightRequest
from services.upstream import Upstream


async def complete(
    upstream: Upstream, settings: Settings, request: CompletionRequest, resolved: ResolvedModel, model: str
) -> Completion:
    """Return a whole answer; it is streamed by Ollama where it matters whether the model has begun.

    Raises:
        OllamaError: if it fails.
    """
    if upstream.stuck_models.may_get_stuck(model):
        seconds = settings.ollama_request_timeout
        async with deadline(seconds, "OLLAMA_REQUEST_TIMEOUT", "its response"), AsyncExitStack() as stack:
            stream = await open_stream(stack, upstream, settings, request, resolved, model, idle_seconds=seconds)
            return await Completion.collect(stream)
    body = completion_body(settings, request, model, stream=False)
    with upstream.stuck_models.request(request.path, model, request.content, is_whole=True) as in_flight:
        response = await in_flight.open(lambda: upstream.client.post(request.path, body))
        completion = Completion.read(response, request, resolved)
        in_flight.finish(completion.done)
        return completion


async def open_stream(
    stack: AsyncExitStack,
    upstream: Upstream,
    settings: Settings,
    request: CompletionRequest,
    resolved: ResolvedModel,
    model: str,
    *,
    idle_seconds: float | None = None,
) -> CompletionStream:
    """Open a streamed answer, which leaving the stack closes.

    Raises:
        OllamaError: if it fails before its first chunk.
    """
    body = completion_body(settings, request, model, stream=True)
    in_flight = upstream.stuck_models.request(request.path, model, request.content, is_whole=False)
    stack.enter_context(in_flight)
    reader = await in_flight.open(
        lambda: stack.enter_async_context(upstream.client.stream(request.path, body, idle_seconds))
    )
    stream = CompletionStream(resolved, reader, request, is_reloaded=in_flight.is_reloaded)
    stack.callback(_note_end, in_flight, stream)
    return stream


def _note_end(in_flight: InFlightRequest, stream: CompletionStream) -> None:
    if stream.done is not None:
        in_flight.finish(stream.done)

"""Completion requests: checks, model selection, queueing, and attempts until a model responds."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from config import Settings
from services.completion import Completion, CompletionRequest, CompletionStream, ResolvedModel
from services.ollama.errors import OllamaError
from services.operation import Operation
from services.requests.attempts import Attempt
from services.requests.model_selection import ModelSelection
from services.requests.request_builder import check_format, check_num_ctx
from services.upstream import Upstream


async def complete(upstream: Upstream, settings: Settings, request: CompletionRequest) -> Completion:
    """Return a complete (non-streamed) response.

    Raises:
        OllamaError: if it fails.
    """

    async def attempt(resolved: ResolvedModel, model: str) -> Completion:
        _note_model(operation, resolved)
        return await Attempt(upstream, settings, request, resolved, model).complete()

    with upstream.tracked(request.path, request.model or settings.default_model) as operation:
        selection = ModelSelection(upstream, settings)
        target = await _choose(upstream, settings, request, selection)
        _note_model(operation, target[0])
        async with upstream.limiter.slot():
            try:
                completion = await selection.run(request, target, attempt)
            except OllamaError as error:
                upstream.outcomes.failed(error)
                raise
        operation.complete(completion.done)
    upstream.outcomes.succeeded()
    return completion


@asynccontextmanager
async def stream(
    upstream: Upstream, settings: Settings, request: CompletionRequest, chosen: Callable[[ResolvedModel], None]
) -> AsyncIterator[CompletionStream]:
    """Open a streamed response; leaving the context stops the model if it is still generating.

    `chosen` is called with the resolved model before the model has started to respond.

    Raises:
        OllamaError: if it fails before its first chunk.
    """

    def note(resolved: ResolvedModel) -> None:
        chosen(resolved)
        _note_model(operation, resolved)

    async def attempt(resolved: ResolvedModel, model: str) -> CompletionStream:
        note(resolved)
        opened = await Attempt(upstream, settings, request, resolved, model).open_stream(stack)
        operation.first_chunk_at = time.monotonic()
        return opened

    with upstream.tracked(request.path, request.model or settings.default_model) as operation:
        selection = ModelSelection(upstream, settings)
        target = await _choose(upstream, settings, request, selection)
        note(target[0])
        async with upstream.limiter.slot(), AsyncExitStack() as stack:
            opened = None
            try:
                opened = await selection.run(request, target, attempt)
                yield opened
            except OllamaError as error:
                upstream.outcomes.failed(error)
                raise
            finally:
                if opened is not None and opened.done is not None:
                    operation.complete(opened.done)
                    upstream.outcomes.succeeded()


async def _choose(
    upstream: Upstream, settings: Settings, request: CompletionRequest, selection: ModelSelection
) -> tuple[ResolvedModel, str]:
    """Choose the model, and reject a request that cannot succeed before it is queued."""
    check_num_ctx(settings, request)
    upstream.breaker.check()
    target = await selection.choose(request)
    check_format(request, runs_llama_server=upstream.runs_llama_server)
    upstream.stuck_models.check(target[1])
    return target


def _note_model(operation: Operation, resolved: ResolvedModel) -> None:
    operation.model = resolved.model
    operation.fallback = resolved.fallback

"""Relay for Ollama's own API: unchanged requests, with the same queue and circuit breaker as all others."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from config import Settings
from services.ollama.errors import NotFoundError, OllamaError
from services.ollama.parsing.chunk_joining import as_streamed
from services.ollama.parsing.raw_figures import figures_in, model_in
from services.ollama.raw_response import RawResponse
from services.ollama.timeouts import deadline
from services.operation import Operation
from services.requests.capabilities import check_relayed
from services.requests.value_count import has_too_many_values
from services.stuck_models.watch import is_whole
from services.upstream import Upstream


@asynccontextmanager
async def relay(
    upstream: Upstream, settings: Settings, path: str, data: bytes, model: str | None = None
) -> AsyncIterator[RawResponse]:
    """Hold a slot, send a request and yield its response; leaving closes the connection unless the body was read.

    If it matters when the model begins, a complete response is streamed by Ollama and joined here. A request with too
    many values to be parsed is neither checked nor watched.

    Raises:
        OllamaError: if the queue or the circuit breaker rejects the request, the model lacks a capability, or there is
            no response.
    """
    with upstream.tracked(path, model_in(data)) as operation:
        upstream.breaker.check()
        readable = b"" if await has_too_many_values(data) else data
        await check_relayed(upstream, settings, path, readable, operation.requested_model)
        upstream.stuck_models.check(None, readable)
        operation.model = operation.requested_model
        async with upstream.limiter.slot():
            try:
                wants_whole = is_whole(path, readable)
                is_joined = wants_whole and upstream.stuck_models.needs_streams
                watched = upstream.stuck_models.request(path, None, readable, is_whole=wants_whole and not is_joined)
                with watched as in_flight:
                    sent = as_streamed(data) if is_joined else data
                    send = partial(in_flight.open, partial(upstream.client.relay, path, sent, model))
                    if is_joined:
                        response = await _joined(upstream, send, settings.ollama_request_timeout)
                    else:
                        with upstream.breaker.attempt():
                            response = await send()
                    async with response:
                        if response.is_stream:
                            operation.first_chunk_at = time.monotonic()
                        yield response
                    if response.is_whole:
                        in_flight.finish()
            except OllamaError as error:
                upstream.outcomes.failed(error)
                raise
        failure = response.failure if response.is_whole else None
        if isinstance(failure, NotFoundError):
            upstream.catalog.invalidate()
        if failure is not None:
            operation.error = failure.code
            upstream.outcomes.failed(failure)
        elif response.is_whole:
            _note_figures(operation, response.body)
            upstream.outcomes.succeeded()


async def _joined(upstream: Upstream, send: Callable[[], Awaitable[RawResponse]], seconds: float) -> RawResponse:
    """Return the complete response for a streamed one."""
    async with deadline(seconds, "OLLAMA_REQUEST_TIMEOUT", "its response"):
        with upstream.breaker.attempt():
            response = await send()
        try:
            await response.join()
        except BaseException:
            response.close()
            raise
    return response


def _note_figures(operation: Operation, body: bytes) -> None:
    operation.is_whole = True
    found = figures_in(body)
    operation.model = found.model or operation.model
    operation.input_tokens, operation.output_tokens = found.prompt_tokens, found.completion_tokens
    operation.output_seconds, operation.finish_reason = found.completion_seconds, found.done_reason

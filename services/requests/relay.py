"""Relay for Ollama's own API: unchanged requests, with the same queue and circuit breaker as all others."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from config import Settings
from services.ollama.errors import NotFoundError, OllamaError
from services.ollama.parsing.raw_figures import figures_in, model_in
from services.ollama.raw_response import RawResponse
from services.operation import Operation
from services.requests.capabilities import check_relayed
from services.upstream import Upstream


@asynccontextmanager
async def relay(
    upstream: Upstream, settings: Settings, path: str, data: bytes, model: str | None = None
) -> AsyncIterator[RawResponse]:
    """Hold a slot, send a request and yield its response; leaving closes the connection unless the body was read.

    Raises:
        OllamaError: if the queue or the circuit breaker rejects the request, the model lacks a capability, or there is
            no response.
    """
    with upstream.tracked(path, model_in(data)) as operation:
        upstream.breaker.check()
        await check_relayed(upstream, settings, path, data, operation.requested_model)
        upstream.stuck_models.check(None, data)
        operation.model = operation.requested_model
        async with upstream.limiter.slot():
            try:
                with upstream.stuck_models.request(path, None, data) as in_flight:
                    with upstream.breaker.attempt():
                        response = await in_flight.open(lambda: upstream.client.relay(path, data, model))
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


def _note_figures(operation: Operation, body: bytes) -> None:
    operation.is_whole = True
    found = figures_in(body)
    operation.model = found.model or operation.model
    operation.input_tokens, operation.output_tokens = found.prompt_tokens, found.completion_tokens
    operation.output_seconds, operation.finish_reason = found.completion_seconds, found.done_reason

"""Relay for Ollama's own API: unchanged requests, with the same queue and circuit breaker as all others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.ollama.errors import NotFoundError, OllamaError
from services.ollama.raw_response import RawResponse
from services.upstream import Upstream


@asynccontextmanager
async def relay(upstream: Upstream, path: str, data: bytes) -> AsyncIterator[RawResponse]:
    """Hold a slot, send a request and yield its response; leaving closes the connection unless the body was read.

    Raises:
        OllamaError: if the queue or the circuit breaker rejects the request, or there is no response.
    """
    upstream.breaker.check()
    upstream.stuck_models.check(None, data)
    async with upstream.limiter.slot():
        try:
            with upstream.stuck_models.request(path, None, data) as in_flight:
                with upstream.breaker.attempt():
                    response = await in_flight.open(lambda: upstream.client.relay(path, data))
                async with response:
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
        upstream.outcomes.failed(failure)
    elif response.is_whole:
        upstream.outcomes.succeeded()

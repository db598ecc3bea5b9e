"""Requests of Ollama's own API: passed on as they are, behind the same queue and circuit breaker as all others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.ollama.errors import NotFoundError, OllamaError
from services.ollama.raw_response import RawResponse
from services.upstream import Upstream


@asynccontextmanager
async def relay(upstream: Upstream, path: str, data: bytes, model: str | None = None) -> AsyncIterator[RawResponse]:
    """Hold a place, send a request and give its response; leaving closes the connection if it is not at its end.

    Raises:
        OllamaError: if there is no response.
    """
    upstream.breaker.check()
    async with upstream.limiter.slot():
        try:
            with upstream.breaker.attempt():
                response = await upstream.client.relay(path, data, model)
            async with response:
                yield response
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

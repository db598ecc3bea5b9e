"""Embedding requests: prefixes for the input type, model check, queueing."""

import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

from config import Settings
from services.ollama.embeddings import Embeddings, EmbeddingWarning, fetch_vectors
from services.ollama.errors import InvalidRequestError, NotFoundError, OllamaError
from services.ollama.types.embedding_prefixes import INPUT_TYPES, InputType, known_prefixes, with_prefix
from services.ollama.types.model_names import short_name
from services.requests.capabilities import EMBEDDING, check_capabilities
from services.requests.request_builder import with_constants
from services.requests.truncation import LEAST_DEFAULT_CONTEXT, MAX_TOKENS_PER_CHARACTER, send_or_truncate
from services.upstream import Upstream

logger = logging.getLogger(__name__)

LEAST_CONTEXT = 512
"""Smallest context length of common embedding models."""
MARKS_OF_A_TEXT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest:
    """Texts to embed; with an `input_type` they get the prefix of the model's family."""

    texts: list[str]
    model: str | None = None
    input_type: InputType | None = None
    dimensions: int | None = None
    truncate: bool = True
    keep_alive: float | str | None = None


async def embed(upstream: Upstream, settings: Settings, request: EmbeddingRequest) -> Embeddings:
    """Return a vector of unit length for each text. See https://docs.ollama.com/api/embed.

    Raises:
        OllamaError: if it fails; there is no fallback to another model.
    """
    requested = request.model or settings.embedding_model
    with upstream.tracked("/api/embed", requested) as operation:
        upstream.breaker.check()
        exact = await upstream.exact_name(requested)
        if exact is None:
            raise upstream.unknown(requested)
        if upstream.runs_llama_server:  # before 0.30, text models embed too
            await check_capabilities(upstream, settings, exact, [EMBEDDING])
        operation.model = short_name(exact)
        prefix, warnings = _prefix(settings, exact, request.input_type)
        texts = [with_prefix(text, prefix) for text in request.texts] if prefix else request.texts
        body = with_constants(settings, {"model": exact, "options": {}}, request.keep_alive)
        upstream.stuck_models.check(exact)

        async def send(body: dict[str, Any]) -> tuple[list[list[float]], int | None]:
            with upstream.stuck_models.request("/api/embed", exact, {"input": texts}) as in_flight:
                fetch = partial(fetch_vectors, upstream.client, texts, request.dimensions, body)
                found = await in_flight.open(fetch)
                in_flight.finish()
                return found

        async with upstream.limiter.slot():
            with upstream.breaker.attempt():
                try:
                    (vectors, operation.input_tokens), was_truncated = await send_or_truncate(
                        send,
                        body | {"truncate": request.truncate},
                        may_be_truncated=_may_be_truncated(upstream, settings, exact, texts),
                    )
                except NotFoundError as error:
                    upstream.catalog.invalidate()
                    raise upstream.unknown(requested) from error
                except OllamaError as error:
                    upstream.outcomes.failed(error)
                    raise
        operation.is_whole = True
    upstream.outcomes.succeeded()
    if was_truncated:
        logger.warning("a text was longer than the context of %s and was truncated", exact)
        warnings.append("prompt_truncated")
    return Embeddings(vectors, short_name(exact), operation.input_tokens, prefix, warnings)


def _prefix(settings: Settings, model: str, input_type: InputType | None) -> tuple[str | None, list[EmbeddingWarning]]:
    """Return the prefix for an input type; None without an input type, or if no prefix is known."""
    if input_type is None:
        return None, []
    if input_type not in INPUT_TYPES:  # in-process callers are not validated
        detail = f"input_type: one of {', '.join(INPUT_TYPES)}."
        raise InvalidRequestError(detail, field="input_type")
    prefix = (known_prefixes(model, settings.embedding_prefixes or {}) or {}).get(input_type)
    if prefix is None:
        logger.warning("no prefix for %s of %s is known; the texts are sent unchanged", input_type, model)
        return None, ["unknown_prefix"]
    return prefix, []


def _may_be_truncated(upstream: Upstream, settings: Settings, model: str, texts: list[str]) -> bool:
    """Return whether a text may be longer than the context of the model."""
    context = upstream.facts.known_context(model) or LEAST_CONTEXT
    context = min(context, settings.ollama_num_ctx or LEAST_DEFAULT_CONTEXT)
    return MAX_TOKENS_PER_CHARACTER * max(map(len, texts)) + MARKS_OF_A_TEXT >= context

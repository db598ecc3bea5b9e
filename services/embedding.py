"""What an embedding model gives."""

import math
from dataclasses import dataclass
from typing import Any

from services.completion import number
from services.errors import NoSuchEndpointError, OllamaResponseError
from services.transport import Transport


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors of unit length, one for each text in order; `model` is the short name."""

    vectors: list[list[float]]
    model: str
    prompt_tokens: int | None


async def fetch_vectors(
    transport: Transport, body: dict[str, Any], texts: list[str], *, dimensions: int | None, truncate: bool
) -> tuple[list[list[float]], int | None]:
    """Return a vector of unit length for each text, and the tokens of all; `body` is what goes with each request.

    See https://docs.ollama.com/api/embed.

    Raises:
        OllamaError: as `Transport.post`, or if the answer does not hold the vectors.
    """
    asked: dict[str, Any] = {"input": texts, "truncate": truncate}
    if dimensions is not None:
        asked["dimensions"] = dimensions
    try:
        answer = await transport.post("/api/embed", body | asked)
    except NoSuchEndpointError:
        return await _fetch_one_by_one(transport, body, texts, dimensions), None
    return _vectors_of(answer, len(texts)), number(answer, "prompt_eval_count")


async def _fetch_one_by_one(
    transport: Transport, body: dict[str, Any], texts: list[str], dimensions: int | None
) -> list[list[float]]:
    """Ask a server older than 0.2.6, which takes one text a call and does not normalise."""
    vectors = []
    for text in texts:
        answer = await transport.post("/api/embeddings", body | {"prompt": text})
        (vector,) = _vectors_of({"embeddings": [answer.get("embedding")]}, 1)
        vectors.append(_unit_length(vector[:dimensions]))
    return vectors


def _vectors_of(answer: dict[str, Any], count: int) -> list[list[float]]:
    """Return the vectors of an answer.

    Raises:
        OllamaResponseError: if they are not `count` lists of numbers.
    """
    vectors = answer.get("embeddings")
    if not isinstance(vectors, list) or len(vectors) != count or not all(map(_is_vector, vectors)):
        detail = f"Ollama did not give the vectors asked for ({count})."
        raise OllamaResponseError(detail)
    return vectors


def _unit_length(vector: list[float]) -> list[float]:
    """Return the vector scaled to length 1."""
    length = math.hypot(*vector)
    return [component / length for component in vector] if length else vector


def _is_vector(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and set(map(type, value)) <= {float, int}

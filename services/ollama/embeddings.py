"""What an embedding model gives."""

import math
from dataclasses import dataclass
from typing import Any

from services.ollama.client import OllamaClient
from services.ollama.errors import NoSuchEndpointError, OllamaResponseError
from services.ollama.response_parser import number


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors of unit length, one for each text in order; `model` is the short name."""

    vectors: list[list[float]]
    model: str
    prompt_tokens: int | None


async def fetch_vectors(
    transport: OllamaClient, body: dict[str, Any], texts: list[str], *, dimensions: int | None, truncate: bool
) -> tuple[list[list[float]], int | None]:
    """Return a vector of unit length for each text, and the tokens of all; `body` is what goes with each request.

    See https://docs.ollama.com/api/embed.

    Raises:
        OllamaError: as `OllamaClient.post`, or if the answer does not hold the vectors.
    """
    asked: dict[str, Any] = {"input": texts, "truncate": truncate}
    if dimensions is not None:
        asked["dimensions"] = dimensions
    try:
        answer = await transport.post("/api/embed", body | asked)
    except NoSuchEndpointError:
        return await _fetch_one_by_one(transport, body, texts, dimensions), None
    vectors = _vectors_of(answer.get("embeddings"), len(texts))
    if dimensions is not None and len(vectors[0]) > dimensions:  # before 0.11.11 Ollama ignores `dimensions`
        vectors = [_cut(vector, dimensions) for vector in vectors]
    return vectors, number(answer, "prompt_eval_count")


async def _fetch_one_by_one(
    transport: OllamaClient, body: dict[str, Any], texts: list[str], dimensions: int | None
) -> list[list[float]]:
    """Ask a server older than 0.2.6, which takes one text a call and does not normalise."""
    found = []
    for text in texts:
        answer = await transport.post("/api/embeddings", body | {"prompt": text})
        found.append(answer.get("embedding"))
    return [_cut(vector, dimensions) for vector in _vectors_of(found, len(texts))]


def _vectors_of(vectors: object, count: int) -> list[list[float]]:
    """Check the vectors of an answer; that their numbers are finite is seen to where JSON is parsed.

    Raises:
        OllamaResponseError: if they are not `count` lists of numbers, of one width, or if one is all zero.
    """
    if not isinstance(vectors, list) or len(vectors) != count or not all(map(_is_vector, vectors)):
        detail = f"Ollama did not give the vectors asked for ({count})."
        raise OllamaResponseError(detail)
    if len(set(map(len, vectors))) > 1:
        detail = "Ollama gave vectors of different widths."
        raise OllamaResponseError(detail)
    if not all(map(any, vectors)):
        raise _zero_vector()
    return vectors


def _is_vector(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and set(map(type, value)) <= {float, int}


def _cut(vector: list[float], dimensions: int | None) -> list[float]:
    """Return the first numbers of a vector, scaled to length 1."""
    vector = vector[:dimensions]
    length = math.hypot(*vector)
    if not length or math.isinf(length):
        raise _zero_vector()
    return [component / length for component in vector]


def _zero_vector() -> OllamaResponseError:
    return OllamaResponseError("Ollama gave a vector without a direction: all its numbers are zero, or too large.")

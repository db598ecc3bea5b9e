"""Embeddings: requests to `/api/embed`, and to `/api/embeddings` of old servers."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from services.ollama.client import OllamaClient
from services.ollama.errors import NoSuchEndpointError, OllamaResponseError
from services.ollama.parsing.model_list import whole_number

EmbeddingWarning = Literal["unknown_prefix", "prompt_truncated"]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Unit-length vectors, one per text in the same order; `model` is the short name.

    `prefix` is the prefix of each text, None if the texts were sent unchanged.
    """

    vectors: list[list[float]]
    model: str
    prompt_tokens: int | None
    prefix: str | None
    warnings: list[EmbeddingWarning]


async def fetch_vectors(
    client: OllamaClient, texts: list[str], dimensions: int | None, body: dict[str, Any]
) -> tuple[list[list[float]], int | None]:
    """Return a unit-length vector per text and the total prompt tokens; `body` holds the other request fields.

    See https://docs.ollama.com/api/embed.

    Raises:
        OllamaError: as `OllamaClient.post`, or if the response does not contain valid vectors.
    """
    fields: dict[str, Any] = {"input": texts}
    if dimensions is not None:
        fields["dimensions"] = dimensions
    try:
        response = await client.post("/api/embed", body | fields)
    except NoSuchEndpointError:
        without_truncate = {name: value for name, value in body.items() if name != "truncate"}
        return await _fetch_one_by_one(client, without_truncate, texts, dimensions), None
    vectors = _validated_vectors(response.get("embeddings"), len(texts))
    if dimensions is not None and len(vectors[0]) > dimensions:  # before 0.11.11 Ollama ignores `dimensions`
        vectors = [_truncated(vector, dimensions) for vector in vectors]
    return vectors, whole_number(response.get("prompt_eval_count"))


async def _fetch_one_by_one(
    client: OllamaClient, body: dict[str, Any], texts: list[str], dimensions: int | None
) -> list[list[float]]:
    """Use `/api/embeddings` of servers before 0.2.6: one text per call, not normalized."""
    found = []
    for text in texts:
        response = await client.post("/api/embeddings", body | {"prompt": text})
        found.append(response.get("embedding"))
    return [_truncated(vector, dimensions) for vector in _validated_vectors(found, len(texts))]


def _validated_vectors(vectors: object, count: int) -> list[list[float]]:
    """Validate the vectors of a response; the JSON parser already rejects numbers that are not finite.

    Raises:
        OllamaResponseError: if they are not `count` lists of numbers of one length, or one is all zero.
    """
    if not isinstance(vectors, list) or len(vectors) != count or not all(map(_is_vector, vectors)):
        detail = f"Ollama did not return the expected number of vectors ({count})."
        raise OllamaResponseError(detail)
    if len(set(map(len, vectors))) > 1:
        detail = "Ollama returned vectors of different lengths."
        raise OllamaResponseError(detail)
    if not all(map(any, vectors)):
        raise _zero_vector()
    return vectors


def _is_vector(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and set(map(type, value)) <= {float, int}


def _truncated(vector: list[float], dimensions: int | None) -> list[float]:
    """Return the first numbers of a vector, normalized to unit length."""
    vector = vector[:dimensions]
    length = math.hypot(*vector)
    if not length or math.isinf(length):
        raise _zero_vector()
    return [component / length for component in vector]


def _zero_vector() -> OllamaResponseError:
    return OllamaResponseError(
        "Ollama returned a vector that cannot be normalized: all its numbers are zero, or too large."
    )

"""What an embedding model gives."""

import math
from dataclasses import dataclass
from typing import Any

from services.errors import OllamaResponseError


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors of unit length, one for each text in order; `model` is the short name."""

    vectors: list[list[float]]
    model: str
    prompt_tokens: int | None


def vectors_of(answer: dict[str, Any], count: int) -> list[list[float]]:
    """Return the vectors of an answer.

    Raises:
        OllamaResponseError: if they are not `count` lists of numbers.
    """
    vectors = answer.get("embeddings")
    if not isinstance(vectors, list) or len(vectors) != count or not all(map(_is_vector, vectors)):
        detail = f"Ollama did not give the vectors asked for ({count})."
        raise OllamaResponseError(detail)
    return vectors


def unit_length(vector: list[float]) -> list[float]:
    """Return the vector scaled to length 1."""
    length = math.hypot(*vector)
    return [number / length for number in vector] if length else vector


def _is_vector(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and set(map(type, value)) <= {float, int}

"""Simulated embeddings: hashed words and trigrams, so that similar texts have similar vectors."""

import hashlib
import math
import re
from functools import lru_cache

_WORD = re.compile(r"\w+")
_SPREAD = 16
"""Number of dimensions that one feature affects."""
_BIAS = 0.05
"""Weight of a vector common to all texts; it is the vector of ""."""
_TRIGRAM_WEIGHT = 0.35


@lru_cache(maxsize=20_000)
def _feature(feature: str, width: int) -> tuple[tuple[int, float], ...]:
    digest = hashlib.shake_128(feature.encode()).digest(_SPREAD * 4)
    numbers = [int.from_bytes(digest[at : at + 4]) for at in range(0, len(digest), 4)]
    return tuple((number // 2 % width, 1.0 if number % 2 else -1.0) for number in numbers)


@lru_cache(maxsize=64)
def _common(width: int) -> tuple[float, ...]:
    return tuple(_BIAS * (byte - 127.5) / 127.5 for byte in hashlib.shake_128(b"common").digest(width))


def raw_embedding(text: str, width: int) -> list[float]:
    """Return the vector of a text, not normalized."""
    vector = list(_common(width))
    features: list[tuple[str, float]] = []
    for word in _WORD.findall(text.lower()):
        features.append((word, 1.0))
        features += [("#" + word[at : at + 3], _TRIGRAM_WEIGHT) for at in range(len(word) - 2)]
    for feature, weight in features:
        for place, sign in _feature(feature, width):
            vector[place] += weight * sign
    return vector


def unit(vector: list[float]) -> list[float]:
    """Normalize a vector to unit length, rounded to about the precision of a float32."""
    length = math.sqrt(sum(value * value for value in vector))
    return [round(value / length, 8) for value in vector] if length else vector


def embedding(text: str, width: int, dimensions: int | None = None) -> list[float]:
    """Return the vector of a text, truncated to `dimensions` if that is shorter, at unit length."""
    vector = unit(raw_embedding(text, width))
    if dimensions is not None and 0 < dimensions < width:
        return unit(vector[:dimensions])
    return vector

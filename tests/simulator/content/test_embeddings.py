"""Embeddings."""

import math
from typing import Any

import aiohttp
import pytest

from tests.simulator.requests import EMBED, post


def cosine(one: list[float], two: list[float]) -> float:
    product = sum(a * b for a, b in zip(one, two, strict=True))
    return product / (math.hypot(*one) * math.hypot(*two))


async def test_embeddings_have_unit_length_and_are_similar_for_similar_texts(client: aiohttp.ClientSession) -> None:
    texts = ["the cat sat on the mat", "a cat sat on a mat", "quarterly tax report", ""]
    status, answer = await post(client, "/api/embed", EMBED | {"input": texts})
    assert status == 200
    assert set(answer) == {"model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"}
    cat, other_cat, tax, empty = answer["embeddings"]
    assert {len(vector) for vector in (cat, other_cat, tax, empty)} == {768}
    assert all(math.hypot(*vector) == pytest.approx(1, abs=1e-6) for vector in (cat, other_cat, tax, empty))
    assert cosine(cat, other_cat) > 0.5 > cosine(cat, tax) + 0.2


async def test_the_legacy_route_returns_the_same_vector_not_normalized(client: aiohttp.ClientSession) -> None:
    _, modern = await post(client, "/api/embed", EMBED)
    status, legacy = await post(client, "/api/embeddings", {"model": "nomic-embed-text", "prompt": "hello"})
    assert status == 200
    assert set(legacy) == {"embedding"}
    assert math.hypot(*legacy["embedding"]) != pytest.approx(1, abs=0.1)
    assert cosine(legacy["embedding"], modern["embeddings"][0]) == pytest.approx(1)


@pytest.mark.parametrize(("dimensions", "length"), [(64, 64), (768, 768), (9999, 768), (0, 768), (-1, 768)])
async def test_dimensions_truncate_and_normalize(client: aiohttp.ClientSession, dimensions: int, length: int) -> None:
    _, answer = await post(client, "/api/embed", EMBED | {"dimensions": dimensions})
    (vector,) = answer["embeddings"]
    assert len(vector) == length
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("body", [{}, {"input": ""}, {"input": []}, {"input": None}])
async def test_no_texts_give_an_empty_list(client: aiohttp.ClientSession, body: dict[str, Any]) -> None:
    status, answer = await post(client, "/api/embed", {"model": "nomic-embed-text"} | body)
    assert (status, answer) == (200, {"model": "nomic-embed-text", "embeddings": []})
    status, answer = await post(client, "/api/embeddings", {"model": "nomic-embed-text", "input": "misnamed"})
    assert (status, answer) == (200, {"embedding": []})


async def test_a_long_text_is_truncated_or_rejected(client: aiohttp.ClientSession) -> None:
    long = "word " * 5000
    status, answer = await post(client, "/api/embed", EMBED | {"input": long})
    assert (status, answer["prompt_eval_count"]) == (200, 2048)
    status, answer = await post(client, "/api/embed", EMBED | {"input": long, "truncate": False})
    assert (status, answer) == (400, {"error": "the input length exceeds the context length"})
    status, _ = await post(client, "/api/embeddings", {"model": "nomic-embed-text", "prompt": long})
    assert status == 500

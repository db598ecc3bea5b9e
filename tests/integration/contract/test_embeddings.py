"""Embeddings."""

import math

import pytest

from tests.integration.contract.requests import problem
from tests.integration.upstreams import Api


async def test_an_embedding_is_the_one_of_ollama(service: Api, direct: Api) -> None:
    answer = await service.answer("/api/ollama/embeddings", {"text": "a fantasy football league"})
    own = await direct.answer("/api/embed", {"model": "nomic-embed-text", "input": "a fantasy football league"})
    assert answer["embeddings"] == pytest.approx(own["embeddings"][0], abs=1e-6)
    assert math.hypot(*answer["embeddings"]) == pytest.approx(1, abs=1e-5)
    assert answer["dimension"] == len(answer["embeddings"]) == 768
    assert answer["model"] == "nomic-embed-text"
    assert answer["usage"] == {"prompt_tokens": own["prompt_eval_count"]}


async def test_many_embeddings_are_in_order(service: Api) -> None:
    texts = ["quarterback", "running back", "wide receiver", "quarterback"]
    answer = await service.answer("/api/ollama/embeddings", {"text": texts})
    assert len(answer["embeddings"]) == len(texts)
    for text, vector in zip(texts, answer["embeddings"], strict=True):
        alone = await service.answer("/api/ollama/embeddings", {"text": text})
        assert vector == pytest.approx(alone["embeddings"], abs=1e-6)
        assert math.hypot(*vector) == pytest.approx(1, abs=1e-5)
    assert answer["embeddings"][0] != answer["embeddings"][1]


async def test_a_list_of_one_text_gives_a_list_of_one_vector(service: Api) -> None:
    answer = await service.answer("/api/ollama/embeddings", {"text": ["one"]})
    assert [len(vector) for vector in answer["embeddings"]] == [768]


async def test_dimensions_truncate_the_vectors(service: Api) -> None:
    answer = await service.answer("/api/ollama/embeddings", {"text": "one", "dimensions": 64})
    whole = await service.answer("/api/ollama/embeddings", {"text": "one"})
    assert answer["dimension"] == len(answer["embeddings"]) == 64
    kept = whole["embeddings"][:64]
    assert answer["embeddings"] == pytest.approx([number / math.hypot(*kept) for number in kept], abs=1e-5)


async def test_a_long_text_is_truncated_unless_truncate_is_false(service: Api) -> None:
    text = "a very long story " * 2000
    answer = await service.answer("/api/ollama/embeddings", {"text": text})
    assert (answer["dimension"], answer["warnings"]) == (768, ["prompt_truncated"])
    async with service.post("/api/ollama/embeddings", {"text": text, "truncate": False}) as response:
        await problem(response, 400, "rejected_by_ollama")

"""Embeddings of Ollama that are invalid, or in undocumented formats."""

from typing import Any

import aiohttp
import pytest

from simulator import Fault, Simulator
from tests.api import post, problem_in, succeed

TWO: dict[str, Any] = {"text": ["a", "b"]}
BROKEN = [
    "null",
    "{}",
    "[]",
    "[[1.0]]",
    "[[1.0], [1.0], [1.0]]",
    "[[1.0], null]",
    "[[1.0], []]",
    "[[1.0], [0.5, 0.5]]",
    "[[1.0, 0.0], [0.0, 0.0]]",
    "[[0, 0], [0, 1]]",
    "[[1.0], [-0.0]]",
    "[[1.0], [NaN]]",
    "[[1.0], [Infinity]]",
    "[[1.0], [1e400]]",
    "[[1.0], [-1e400]]",
    "[[1.0, 2.0], [null, 1.0]]",
    "[[1.0], [true]]",
    '[[1.0], ["1.0"]]',
    "[[1.0], [[1.0]]]",
    "[[1.0], {}]",
    "[1.0, 1.0]",
]
TOO_OLD = Fault(path="/api/embed", status=404, body=b"404 page not found", content_type="text/plain", times=None)


@pytest.mark.parametrize("vectors", BROKEN)
async def test_invalid_vectors_are_an_error(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, vectors: str
) -> None:
    simulator.fault(Fault(path="/api/embed", body=b'{"embeddings":%b}' % vectors.encode()))
    problem = problem_in(await post(client, url, "embeddings", TWO), "ollama_error")
    assert problem["retryable"] is False


@pytest.mark.parametrize(
    "vectors",
    [
        ("null", "[1.0]"),
        ("[1.0]", "[]"),
        ("[1.0]", "[1.0, 1.0]"),
        ("[1.0]", "[0.0]"),
        ("[1.0]", "[NaN]"),
        ("[1.0]", "[1e400]"),
        ("[1.0, 0]", "[1.7e308, 1.7e308]"),
        ("[1.0]", "[true]"),
        ("[1.0]", "[null]"),
        ("[1.0]", '["1"]'),
        ("[1.0]", "[[1.0]]"),
        ("[1.0]", "5"),
    ],
    ids=str,
)
async def test_invalid_vectors_of_an_old_server_are_an_error(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, vectors: tuple[str, str]
) -> None:
    simulator.fault(TOO_OLD)
    for vector in vectors:
        simulator.fault(Fault(path="/api/embeddings", body=b'{"embedding":%b}' % vector.encode()))
    problem_in(await post(client, url, "embeddings", TWO), "ollama_error")


async def test_integers_in_a_vector_are_accepted(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    simulator.fault(Fault(path="/api/embed", body=b'{"embeddings":[[1,0],[0,-1.0]]}'))
    assert (await succeed(client, url, "embeddings", TWO))["embeddings"] == [[1, 0], [0, -1.0]]


async def test_dimensions_are_applied_if_ollama_ignores_them(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.fault(Fault(path="/api/embed", body=b'{"embeddings":[[3,4,12],[0.6,0.8,0]]}'))
    answer = await succeed(client, url, "embeddings", TWO | {"dimensions": 2})
    assert answer["dimension"] == 2
    assert answer["embeddings"] == [pytest.approx([0.6, 0.8]), pytest.approx([0.6, 0.8])]
    simulator.fault(Fault(path="/api/embed", body=b'{"embeddings":[[0,0,1],[1,0,0]]}'))
    problem_in(await post(client, url, "embeddings", TWO | {"dimensions": 2}), "ollama_error")


async def test_a_vector_shorter_than_the_dimensions_is_unchanged(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.fault(Fault(path="/api/embed", body=b'{"embeddings":[[0.6,0.8],[0.8,0.6]]}'))
    assert (await succeed(client, url, "embeddings", TWO | {"dimensions": 64}))["dimension"] == 2

"""`input_type` of embeddings: the prefix is sent to the model and reported in the response."""

from typing import Any

import aiohttp
import pytest

from main import create_app
from services.ollama_service import OllamaService
from simulator import Simulator
from tests.api import EMBEDDINGS, post, problem_in, succeed
from tests.conftest import MakeSettings
from tests.openai_api import ask, error_in
from tests.serving import serve

EMBED = "/api/embed"
PREFIXES = {
    "query": "search_query: ",
    "document": "search_document: ",
    "classification": "classification: ",
    "clustering": "clustering: ",
}


def seen_texts(simulator: Simulator) -> list[str]:
    texts: list[str] = simulator.calls_to(EMBED)[-1].body["input"]
    return texts


@pytest.mark.parametrize(("role", "prefix"), PREFIXES.items())
async def test_texts_get_the_prefix_of_their_input_type(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, role: str, prefix: str
) -> None:
    texts = ["a trade", f"{prefix}a waiver"]
    answer = await succeed(client, url, "embeddings", {"text": texts, "input_type": role})
    assert seen_texts(simulator) == [f"{prefix}a trade", f"{prefix}a waiver"]
    assert (answer["prefix"], answer["warnings"]) == (prefix, [])


@pytest.mark.parametrize("unset", [{}, {"input_type": None}, {"input_type": ""}])
async def test_texts_are_sent_unchanged_without_input_type(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, unset: dict[str, Any]
) -> None:
    answer = await succeed(client, url, "embeddings", EMBEDDINGS | unset)
    assert seen_texts(simulator) == [EMBEDDINGS["text"]]
    assert (answer["prefix"], answer["warnings"]) == (None, [])


async def test_a_model_without_prefixes_differs_from_an_unknown_model(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.install("bge-m3")
    simulator.install("acme-embedder", ["embedding"])
    body = EMBEDDINGS | {"input_type": "query"}
    without = await succeed(client, url, "embeddings", body | {"model": "bge-m3"})
    unknown = await succeed(client, url, "embeddings", body | {"model": "acme-embedder"})
    assert (without["prefix"], without["warnings"]) == ("", [])
    assert (unknown["prefix"], unknown["warnings"]) == (None, ["unknown_prefix"])
    assert [call.body["input"] for call in simulator.calls_to(EMBED)] == [[EMBEDDINGS["text"]]] * 2


async def test_the_setting_adds_a_model(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator
) -> None:
    simulator.install("acme-embedder", ["embedding"])
    settings = make_settings(embedding_prefixes='{"acme-embedder": {"query": "find: "}}')
    body = EMBEDDINGS | {"model": "acme-embedder"}
    async with serve(create_app(settings)) as url:
        query = await succeed(client, url, "embeddings", body | {"input_type": "query"})
        document = await succeed(client, url, "embeddings", body | {"input_type": "document"})
    assert (query["prefix"], query["warnings"]) == ("find: ", [])
    assert (document["prefix"], document["warnings"]) == (None, ["unknown_prefix"])


@pytest.mark.parametrize("wrong", ["search_query", "passage", 1, ["query"]])
async def test_another_input_type_is_422_and_nothing_is_sent(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, wrong: object
) -> None:
    answer = await post(client, url, "embeddings", EMBEDDINGS | {"input_type": wrong})
    assert [line["field"] for line in problem_in(answer, "invalid_request")["errors"]] == ["input_type"]
    assert simulator.calls_to(EMBED) == []


@pytest.mark.parametrize(("role", "prefix"), [*PREFIXES.items(), ("passage", "search_document: ")])
async def test_input_type_works_under_v1(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, role: str, prefix: str
) -> None:
    answer = (await ask(client, url, "embeddings", {"input": "a trade", "input_type": role})).json()
    assert seen_texts(simulator) == [f"{prefix}a trade"]
    assert (answer["prefix"], answer["warnings"]) == (prefix, [])


async def test_another_input_type_is_rejected_under_v1(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    answer = await ask(client, url, "embeddings", {"input": "a trade", "input_type": "search"})
    error_in(answer, "invalid_request", "input_type")
    assert simulator.calls_to(EMBED) == []


async def test_input_type_works_in_process(make_settings: MakeSettings, simulator: Simulator) -> None:
    service = OllamaService(make_settings())
    try:
        plain = await service.generate_embeddings("a trade")
        query = await service.generate_embeddings("a trade", input_type="query")
    finally:
        await service.disconnect()
    assert [call.body["input"] for call in simulator.calls_to(EMBED)] == [["a trade"], ["search_query: a trade"]]
    assert plain != query

"""Installed models: lists and details."""

import aiohttp
import pytest

from simulator import Simulator
from simulator.names import parse_name
from tests.simulator.requests import EMBED, GENERATE, post


async def test_tags_list_the_newest_model_first_with_its_tag(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.install("gpt-oss:20b")
    async with client.get("/api/tags") as response:
        models = (await response.json())["models"]
    assert [model["name"] for model in models] == [
        "gpt-oss:20b", "nomic-embed-text:latest", "llama3.1:latest", "gpt-oss:latest",
    ]  # fmt: skip
    assert all(model["model"] == model["name"] for model in models)
    assert models[3]["capabilities"] == ["completion", "tools", "thinking"]
    assert set(models[0]) == {"name", "model", "modified_at", "size", "digest", "details", "capabilities"}


async def test_a_removed_model_is_not_found(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.remove("LLAMA3.1")
    async with client.get("/api/tags") as response:
        assert len((await response.json())["models"]) == 2
    status, answer = await post(client, "/api/generate", GENERATE)
    assert (status, answer) == (404, {"error": "model 'llama3.1' not found"})
    with pytest.raises(KeyError):
        simulator.remove("llama3.1")


async def test_show_has_capabilities_and_context_length(client: aiohttp.ClientSession) -> None:
    status, answer = await post(client, "/api/show", {"model": "nomic-embed-text"})
    assert status == 200
    assert answer["capabilities"] == ["embedding"]
    architecture = answer["model_info"]["general.architecture"]
    assert answer["model_info"][f"{architecture}.context_length"] == 2048


@pytest.mark.parametrize(
    ("text", "shortest"),
    [
        ("gpt-oss", "gpt-oss:latest"),
        ("GPT-OSS:20b", "GPT-OSS:20b"),
        ("me/mine", "me/mine:latest"),
        ("localhost:5000/me/mine", "localhost:5000/me/mine:latest"),
        ("https://hub.example/me/mine:v1", "hub.example/me/mine:v1"),
        ("/mine", None),
        ("mine:", None),
        ("", None),
    ],
)
def test_names_are_listed_in_their_shortest_form(text: str, shortest: str | None) -> None:
    name = parse_name(text)
    assert (name.shortest if name else None) == shortest


async def test_the_embedding_width_of_a_model_can_be_set(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.install("tiny", capabilities=["embedding"], width=32)
    _, answer = await post(client, "/api/embed", EMBED | {"model": "tiny"})
    assert len(answer["embeddings"][0]) == 32


async def test_before_0_30_lists_tell_less_of_models(
    client: aiohttp.ClientSession, old_client: aiohttp.ClientSession
) -> None:
    for asked, tells in ((client, True), (old_client, False)):
        async with asked.get("/api/tags") as response:
            model = (await response.json())["models"][0]
        assert ("capabilities" in model) is tells
        assert ("context_length" in model["details"]) is tells

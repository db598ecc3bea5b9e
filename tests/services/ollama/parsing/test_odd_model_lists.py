"""Model lists of Ollama in undocumented formats: installed models and loaded ones."""

import json
import logging
from typing import Any

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.api import GENERATE, get, post, problem_in, succeed
from tests.conftest import MakeSettings
from tests.serving import serve

TAGS = "/api/tags"
GOOD = {"name": "llama3.1:latest", "model": "llama3.1:latest", "size": 5}


def tags(document: object, times: int | None = None) -> Fault:
    return Fault(path=TAGS, body=json.dumps(document).encode(), times=times)


async def models(client: aiohttp.ClientSession, url: str) -> list[dict[str, Any]]:
    answer = await get(client, f"{url}/api/ollama/models?force_refresh=true")
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json()["models"]
    return found


# The model list


@pytest.mark.parametrize("document", [{"models": None}, {"models": []}])
async def test_no_models_are_an_empty_list(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator, document: object
) -> None:
    simulator.fault(tags(document))
    async with serve(create_app(make_settings())) as url:
        assert await models(client, url) == []
        problem = problem_in(await post(client, url, "generate", GENERATE), "model_not_found")
        health = (await get(client, f"{url}/health")).json()
    assert problem["available"] == []
    assert set(health["ollama"]["models"].values()) == {False}


@pytest.mark.parametrize(
    "document", [{}, {"models": {}}, {"models": "none"}, {"models": 5}, {"models": [{}]}, {"data": []}, [], None]
)
async def test_a_response_without_a_model_list_is_an_error(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, document: object
) -> None:
    before = await models(client, url)
    simulator.fault(tags(document))
    problem_in(await get(client, f"{url}/api/ollama/models?force_refresh=true"), "ollama_error")
    assert (await get(client, f"{url}/api/ollama/models")).json()["models"] == before


BAD_ENTRIES: list[object] = [
    None,
    5,
    "llama3.1",
    [],
    {},
    {"name": ""},
    {"name": None, "model": None},
    {"name": 5},
    {"name": "a b"},
    {"model": "bad name:", "name": ":"},
    {"size": 7},
    {"name": "x" * 100},
]


@pytest.mark.parametrize("bad", BAD_ENTRIES, ids=str)
async def test_an_entry_without_a_name_is_skipped(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    simulator: Simulator,
    caplog: pytest.LogCaptureFixture,
    bad: object,
) -> None:
    caplog.set_level(logging.INFO)
    simulator.fault(tags({"models": [bad, GOOD, bad]}))
    async with serve(create_app(make_settings())) as url:
        for _ in range(3):
            assert [model["name"] for model in await models(client, url)] == ["llama3.1"]
        assert (await succeed(client, url, "generate", GENERATE))["model"] == "llama3.1"
    (line,) = [line for line in caplog.messages if "usable name" in line]
    assert line == "the model list has 2 entries without a usable name; they are left out"


async def test_entries_without_a_name_are_reported_again_after_a_valid_list(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for document in ({"models": [GOOD, {}]}, {"models": [GOOD]}, {"models": [{}, GOOD]}):
        simulator.fault(tags(document, times=1))
        await models(client, url)
    assert len([line for line in caplog.messages if "usable name" in line]) == 2


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ({"name": "old:7b"}, "old:7b"),
        ({"model": "new:7b"}, "new:7b"),
        ({"name": "short:7b", "model": "exact:7b"}, "exact:7b"),
        ({"name": "good:7b", "model": ""}, "good:7b"),
        ({"name": "good:7b", "model": None}, "good:7b"),
        ({"name": "good:7b", "model": "not a name"}, "good:7b"),
    ],
    ids=str,
)
async def test_one_of_the_two_name_fields_is_enough(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, entry: dict[str, Any], name: str
) -> None:
    simulator.fault(tags({"models": [entry]}))
    assert [model["model"] for model in await models(client, url)] == [name]


@pytest.mark.parametrize("value", [None, "big", -1, 1.5, True, 1e300, 2**64, [], {}], ids=str)
async def test_a_value_of_another_type_is_null(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, value: object
) -> None:
    odd = dict.fromkeys(("size", "modified_at", "digest", "details", "capabilities"), value)
    simulator.fault(tags({"models": [GOOD | odd, {"name": "b"}]}))
    (model, _) = await models(client, url)
    kinds = {"modified_at": str, "digest": str, "details": dict}
    assert model["size"] is None
    assert all(model[key] is None or isinstance(model[key], kind) for key, kind in kinds.items())
    assert model.get("capabilities", []) == []


async def test_details_are_unchanged(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    details: dict[str, Any] = {
        "families": None,
        "family": "llama",
        "format": None,
        "context_length": 5,
        "new": {"a": []},
    }
    more = {"capabilities": ["vision", None, 5], "size": 12.0, "remote_host": "https://ollama.com:443"}
    simulator.fault(tags({"models": [GOOD | {"details": details} | more]}))
    (model,) = await models(client, url)
    assert (model["details"], model["capabilities"], model["size"]) == (details, ["vision"], 12)
    assert "remote_host" not in model


async def test_a_name_that_occurs_twice_is_listed_once(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.fault(tags({"models": [GOOD | {"size": 1}, GOOD | {"size": 2}, {"name": "b"}]}))
    assert [(model["name"], model["size"]) for model in await models(client, url)] == [("llama3.1", 1), ("b", None)]


async def test_of_two_names_that_differ_in_case_the_first_is_used(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator
) -> None:
    simulator.fault(tags({"models": [GOOD, {"name": "LLAMA3.1:latest"}]}))
    async with serve(create_app(make_settings())) as url:
        assert len(await models(client, url)) == 2
        await succeed(client, url, "generate", GENERATE)
    assert [seen.body["model"] for seen in simulator.calls_to("/api/generate")] == ["llama3.1:latest"]


# Loaded models


@pytest.mark.parametrize(
    ("running", "falls_back"),
    [
        ({"models": None}, True),
        ({"models": []}, True),
        ({"models": [{"name": "gpt-oss:latest"}]}, True),
        ({"models": [{"name": "llama3.1:latest"}]}, False),
        ({"models": [{"model": "LLAMA3.1"}]}, False),
        ({"models": [{"size": 5}]}, False),
        ({"models": [{"name": "gpt-oss:latest"}, {"size": 5}]}, False),
        ({}, False),
        ({"error": "no"}, False),
    ],
    ids=str,
)
async def test_a_fallback_requires_that_the_model_is_certainly_not_loaded(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, running: object, falls_back: bool
) -> None:
    simulator.fault(Fault(status=500, message="failed to allocate", model="llama3.1"))
    simulator.fault(Fault(path="/api/ps", body=json.dumps(running).encode()))
    answer = await post(client, url, "generate", GENERATE)
    if falls_back:
        assert answer.json()["model"] == "gpt-oss"
    else:
        assert "failed to allocate" in problem_in(answer, "ollama_error")["detail"]


async def test_a_cloud_model_is_never_reported_as_failed_to_load(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.fault(Fault(status=500, message="internal error of the cloud"))
    answer = await post(client, url, "generate", GENERATE | {"model": "gpt-oss:120b-cloud"})
    assert "internal error of the cloud" in problem_in(answer, "ollama_error")["detail"]
    assert simulator.calls_to("/api/ps") == []

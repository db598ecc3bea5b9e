"""`GET /api/ollama/models/{name}`."""

import json
from datetime import datetime
from typing import Any

import aiohttp
import pytest
from yarl import URL

from main import create_app
from simulator import Fault, Simulator
from tests.api import EMBEDDINGS, get, problem_in, succeed
from tests.conftest import MakeSettings
from tests.serving import serve

SHOW = "/api/show"


async def details(client: aiohttp.ClientSession, url: str, name: str) -> dict[str, Any]:
    answer = await get(client, f"{url}/api/ollama/models/{name}")
    assert answer.status == 200, answer.body
    document: dict[str, Any] = answer.json()
    return document


async def test_it_returns_the_properties_of_the_model(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    document = await details(client, url, "nomic-embed-text")
    listed = (await get(client, f"{url}/api/ollama/models")).json()["models"]
    (item,) = [model for model in listed if model["name"] == "nomic-embed-text"]
    assert document == {
        "success": True,
        **{key: item[key] for key in ("name", "model", "size", "modified_at", "digest")},
        "family": "nomic-bert",
        "parameter_size": "137M",
        "quantization_level": "Q4_K_M",
        "context_length": 2048,
        "embedding_length": 768,
        "capabilities": ["embedding"],
        "loaded": False,
        "expires_at": None,
        "loaded_context_length": None,
        "size_vram": None,
        "prefixes": {
            "query": "search_query: ",
            "document": "search_document: ",
            "classification": "classification: ",
            "clustering": "clustering: ",
        },
    }
    assert simulator.loads == {}


async def test_it_returns_whether_the_model_is_loaded_now(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    assert (await details(client, url, "nomic-embed-text"))["loaded"] is False
    await succeed(client, url, "embeddings", EMBEDDINGS | {"keep_alive": "10m"})
    document = await details(client, url, "nomic-embed-text")
    assert (document["loaded"], document["loaded_context_length"], document["size_vram"]) == (True, 2048, 0)
    left = datetime.fromisoformat(document["expires_at"]) - datetime.now().astimezone()
    assert 590 < left.total_seconds() <= 600
    assert (await details(client, url, "gpt-oss"))["loaded"] is False
    assert simulator.loads == {"nomic-embed-text:latest": 1}


async def test_properties_are_requested_once(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    first = await details(client, url, "gpt-oss")
    assert await details(client, url, "gpt-oss") == first
    assert len(simulator.calls_to(SHOW)) == 1
    simulator.install("gpt-oss", ["completion"])
    await get(client, f"{url}/api/ollama/models?force_refresh=true")
    assert (await details(client, url, "gpt-oss"))["capabilities"] == first["capabilities"]  # the digest is the same
    assert len(simulator.calls_to(SHOW)) == 1


@pytest.mark.parametrize("name", ["GPT-OSS:latest", "library/gpt-oss", "registry.ollama.ai/library/gpt-oss/"])
async def test_a_model_is_found_by_any_of_its_names(client: aiohttp.ClientSession, url: str, name: str) -> None:
    assert (await details(client, url, name))["model"] == "gpt-oss:latest"


@pytest.mark.parametrize(
    "name",
    [
        "hf.co/acme/Embedder-GGUF:Q8_0",
        "hf.co%2Facme%2FEmbedder-GGUF%3AQ8_0",
        "HF.CO/acme/embedder-gguf:q8_0",
        "hf.co/acme/Embedder-GGUF:Q8_0/",
    ],
)
async def test_a_name_may_contain_slashes_and_a_tag(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, name: str
) -> None:
    simulator.install("hf.co/acme/Embedder-GGUF:Q8_0", ["embedding"])
    async with client.get(URL(f"{url}/api/ollama/models/{name}", encoded=True)) as response:
        assert (response.status, (await response.json())["model"]) == (200, "hf.co/acme/Embedder-GGUF:Q8_0")
    problem_in(await get(client, f"{url}/api/ollama/models/hf.co/acme/Embedder-GGUF"), "model_not_found")


async def test_a_copy_of_a_loaded_model_is_loaded(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    listed = (await get(client, f"{url}/api/ollama/models")).json()["models"]
    digest = next(model["digest"] for model in listed if model["name"] == "gpt-oss")
    entry = {"name": "a-copy:latest", "digest": digest, "context_length": 8192}
    body = json.dumps({"models": [entry]}).encode()
    simulator.fault(Fault(path="/api/ps", body=body, content_type="application/json"))
    document = await details(client, url, "gpt-oss")
    assert (document["loaded"], document["loaded_context_length"]) == (True, 8192)


async def test_a_model_that_is_not_installed(client: aiohttp.ClientSession, url: str) -> None:
    answer = await get(client, f"{url}/api/ollama/models/gpt-oss:20b")
    assert "gpt-oss" in problem_in(answer, "model_not_found")["available"]


@pytest.mark.parametrize("name", ["%20", "a:", "a/b/c/d/e"])
async def test_an_invalid_name_is_422(client: aiohttp.ClientSession, url: str, simulator: Simulator, name: str) -> None:
    document = problem_in(await get(client, f"{url}/api/ollama/models/{name}"), "invalid_request")
    assert [line["field"] for line in document["errors"]] == ["name"]
    assert simulator.calls_to(SHOW) == []


async def test_an_empty_name_returns_the_list(client: aiohttp.ClientSession, url: str) -> None:
    assert len((await details(client, url, ""))["models"]) == 3


async def test_loaded_is_null_if_ps_fails(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    simulator.fault(Fault(path="/api/ps", status=500))
    document = await details(client, url, "gpt-oss")
    assert (document["loaded"], document["context_length"]) == (None, 131_072)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(path=SHOW, status=500), "ollama_error"),
        (Fault(path=SHOW, body=b"[]", content_type="application/json"), "ollama_error"),
        (Fault(path=SHOW, status=404, message="model 'gpt-oss' not found"), "model_not_found"),
    ],
)
async def test_a_failure_of_show_is_reported(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, fault: Fault, code: str
) -> None:
    simulator.fault(fault)
    problem_in(await get(client, f"{url}/api/ollama/models/gpt-oss"), code)
    assert (await details(client, url, "gpt-oss"))["capabilities"] == ["completion", "tools", "thinking"]


async def test_unexpected_values_are_null(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    odd = {"details": {"family": 1, "quantization_level": ""}, "model_info": [], "capabilities": "all"}
    simulator.fault(Fault(path=SHOW, body=json.dumps(odd).encode(), content_type="application/json"))
    simulator.fault(Fault(path="/api/ps", body=b'{"models": [1, {"model": "::"}]}', content_type="application/json"))
    document = await details(client, url, "gpt-oss")
    assert (document["family"], document["quantization_level"], document["context_length"]) == (None, None, None)
    assert document["loaded"] is False
    assert document["capabilities"] == ["completion", "tools", "thinking"]  # as in the list


async def test_it_requires_an_api_key_if_one_is_set(client: aiohttp.ClientSession, make_settings: MakeSettings) -> None:
    async with serve(create_app(make_settings(api_keys="hush"))) as url:
        assert (await get(client, f"{url}/api/ollama/models/gpt-oss")).status == 401

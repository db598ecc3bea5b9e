"""Embeddings and models of OpenAI's API."""

import base64
import json
import struct
from datetime import datetime
from typing import Any

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.api import Answer, get, succeed
from tests.conftest import MakeSettings
from tests.openai_api import ask, error_in
from tests.serving import serve

UPSTREAM = "/api/embed"


async def embed(client: aiohttp.ClientSession, url: str, **body: Any) -> Answer:
    return await ask(client, url, "embeddings", body)


async def test_vectors_equal_those_of_api_ollama(client: aiohttp.ClientSession, url: str) -> None:
    texts = ["waiver wire", "trade deadline"]
    answer = await embed(client, url, input=texts, model="nomic-embed-text")
    document = answer.json()
    assert document.keys() == {"object", "data", "model", "usage", "prefix", "warnings"}
    assert [item["index"] for item in document["data"]] == [0, 1]
    assert {item["object"] for item in document["data"]} == {"embedding"}
    known = await succeed(client, url, "embeddings", {"text": texts})
    assert [item["embedding"] for item in document["data"]] == known["embeddings"]
    tokens = known["usage"]["prompt_tokens"]
    assert document["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert document["model"] == answer.headers["X-Model"] == "nomic-embed-text"
    assert answer.headers["X-Model-Fallback"] == "false"


async def test_base64_is_float32_in_little_endian(client: aiohttp.ClientSession, url: str) -> None:
    numbers = (await embed(client, url, input="a", encoding_format="float")).json()["data"][0]["embedding"]
    packed = (await embed(client, url, input=["a"], encoding_format="base64")).json()["data"][0]["embedding"]
    unpacked = struct.unpack(f"<{len(numbers)}f", base64.b64decode(packed))
    assert unpacked == pytest.approx(numbers, abs=1e-6)


async def test_parameters_are_sent_upstream(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    answer = await embed(
        client, url, input="a", dimensions=8, truncate=False, keep_alive=60, user="u", encoding_format="float"
    )
    assert len(answer.json()["data"][0]["embedding"]) == 8
    (seen,) = simulator.calls_to(UPSTREAM)
    body = {name: value for name, value in seen.body.items() if name != "options"}
    assert body == {
        "model": "nomic-embed-text:latest",
        "input": ["a"],
        "dimensions": 8,
        "truncate": False,
        "keep_alive": 60,
    }


@pytest.mark.parametrize(
    "harmless",
    [
        dict.fromkeys(["model", "encoding_format", "dimensions", "truncate", "keep_alive", "user"]),
        {"model": "", "encoding_format": "", "dimensions": 0},
    ],
)
async def test_null_and_zero_are_unset(client: aiohttp.ClientSession, url: str, harmless: dict[str, Any]) -> None:
    plain = (await embed(client, url, input="a")).json()
    assert (await embed(client, url, input="a", **harmless)).json() == plain


async def test_up_to_2048_texts_are_accepted(client: aiohttp.ClientSession, url: str) -> None:
    assert len((await embed(client, url, input=["a"] * 2048, dimensions=2)).json()["data"]) == 2048
    error_in(await embed(client, url, input=["a"] * 2049), "invalid_request", "input")


@pytest.mark.parametrize("tokens", [[1, 2, 3], [[1, 2], [3]], [7] * 3000])
async def test_token_ids_are_rejected_with_a_hint(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, tokens: list[Any]
) -> None:
    message = error_in(await embed(client, url, input=tokens), "unsupported_parameter", "input")
    assert "check_embedding_ctx_length=False" in message
    assert simulator.calls_to(UPSTREAM) == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input.1"),
        ({"input": ["a", 1]}, "input.1"),
        ({"input": [None]}, "input.0"),
        ({"input": {"text": "a"}}, "input"),
        ({}, "input"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "dimensions": -1}, "dimensions"),
    ],
)
async def test_an_invalid_parameter_is_named_in_the_error(
    client: aiohttp.ClientSession, url: str, body: dict[str, Any], param: str
) -> None:
    error_in(await embed(client, url, **body), "invalid_request", param)


async def test_there_is_no_fallback_model(client: aiohttp.ClientSession, url: str) -> None:
    answer = await embed(client, url, input="a", model="text-embedding-3-small")
    assert "text-embedding-3-small" in error_in(answer, "model_not_found", "model")


async def test_a_number_that_exceeds_float32_is_an_error(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.fault(Fault(path=UPSTREAM, body=b'{"embeddings": [[1e300]]}', content_type="application/json"))
    error_in(await embed(client, url, input="a", encoding_format="base64"), "ollama_error")


# Models


async def test_models_are_the_installed_ones(client: aiohttp.ClientSession, url: str) -> None:
    listed = (await get(client, f"{url}/v1/models")).json()
    known = (await get(client, f"{url}/api/ollama/models")).json()["models"]
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == [model["name"] for model in known]
    for model, installed in zip(listed["data"], known, strict=True):
        assert model.keys() == {"id", "object", "created", "owned_by", "context_length", "capabilities"}
        assert model["capabilities"] == installed["capabilities"]
        assert model["context_length"] == installed["details"]["context_length"]
        assert (model["object"], model["owned_by"]) == ("model", "library")
        assert model["created"] == int(datetime.fromisoformat(installed["modified_at"]).timestamp())
    assert (await get(client, f"{url}/v1/models/")).json() == listed


@pytest.mark.parametrize(
    "name", ["gpt-oss", "GPT-OSS:latest", "library/gpt-oss", "registry.ollama.ai/library/gpt-oss", "gpt-oss/"]
)
async def test_a_model_is_found_by_all_its_names(client: aiohttp.ClientSession, url: str, name: str) -> None:
    answer = await get(client, f"{url}/v1/models/{name}")
    assert answer.status == 200
    assert answer.json()["id"] == "gpt-oss"


async def test_the_owner_is_the_namespace(client: aiohttp.ClientSession, make_settings: MakeSettings) -> None:
    async with (
        Simulator(models=["acme/writer:7b"]) as simulator,
        serve(create_app(make_settings(ollama_base_url=simulator.url))) as url,
    ):
        model = (await get(client, f"{url}/v1/models/acme/writer:7b")).json()
    assert (model["id"], model["owned_by"]) == ("acme/writer:7b", "acme")


async def test_a_cloud_model_is_found_without_being_listed(client: aiohttp.ClientSession, url: str) -> None:
    model = (await get(client, f"{url}/v1/models/gpt-oss:120b-cloud")).json()
    assert (model["id"], model["created"], model["owned_by"]) == ("gpt-oss:120b-cloud", 0, "library")


@pytest.mark.parametrize("name", ["gpt-4o", "gpt-oss:20b", "a/b/c/d/e", "%20", "x" * 500])
async def test_a_model_that_is_not_installed_is_404(client: aiohttp.ClientSession, url: str, name: str) -> None:
    error_in(await get(client, f"{url}/v1/models/{name}"), "model_not_found", "model")


@pytest.mark.parametrize("modified_at", ["2026-11-25T03:00:00.123456789+02:00", None, "yesterday", 7])
async def test_an_invalid_date_is_zero(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, modified_at: object
) -> None:
    body = b'{"models": [{"name": "a:latest", "modified_at": %s}]}'
    encoded = json.dumps(modified_at).encode()
    simulator.fault(Fault(path="/api/tags", body=body % encoded, content_type="application/json"))
    (model,) = (await get(client, f"{url}/v1/models")).json()["data"]
    assert model["created"] == (1795568400 if isinstance(modified_at, str) and "T" in modified_at else 0)

"""Model names, and the fallback to the default model."""

from typing import Any

import aiohttp

from simulator import Fault, Simulator
from tests.api import (
    GENERATE,
    UPSTREAM_PATHS,
    both,
    get,
    post,
    problem_in,
    serve_quietly,
    succeed,
)
from tests.conftest import MakeSettings


async def test_another_tag_is_not_used(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    simulator.install("gpt-oss:20b")
    await succeed(client, url, "generate", GENERATE | {"model": "gpt-oss"})
    await succeed(client, url, "generate", GENERATE | {"model": "gpt-oss:20B"})
    assert [seen.body["model"] for seen in simulator.calls_to("/api/generate")] == ["gpt-oss:latest", "gpt-oss:20b"]
    simulator.remove("gpt-oss")
    await get(client, f"{url}/api/ollama/models?force_refresh=true")
    answer = await post(client, url, "generate", GENERATE | {"model": "gpt-oss"})
    assert "gpt-oss:20b" in problem_in(answer, "model_not_found")["available"]


@both
async def test_the_default_model_replaces_one_that_is_not_installed(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, endpoint: str, body: dict[str, Any]
) -> None:
    answer = await post(client, url, endpoint, body | {"model": "unknown:7b"})
    document = answer.json()
    assert answer.status == 200
    assert (answer.headers["X-Model"], answer.headers["X-Model-Fallback"]) == ("gpt-oss", "true")
    assert (document["model"], document["requested_model"], document["fallback"]) == ("gpt-oss", "unknown:7b", True)
    assert document["warnings"] == ["fallback_model"]
    (seen,) = simulator.calls_to(UPSTREAM_PATHS[endpoint])
    assert seen.body["model"] == "gpt-oss:latest"


@both
async def test_fallback_can_be_disabled(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, endpoint: str, body: dict[str, Any]
) -> None:
    answer = await post(client, url, endpoint, body | {"model": "unknown:7b", "fallback": False})
    document = problem_in(answer, "model_not_found")
    assert document["available"] == ["nomic-embed-text", "llama3.1", "gpt-oss"]
    assert document["retryable"] is False
    assert "unknown:7b" in document["detail"]
    assert simulator.calls_to(UPSTREAM_PATHS[endpoint]) == []


@both
async def test_without_the_default_model_there_is_no_fallback(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, endpoint: str, body: dict[str, Any]
) -> None:
    simulator.remove("gpt-oss")
    for model in ("unknown:7b", None, "gpt-oss"):
        document = problem_in(await post(client, url, endpoint, body | {"model": model}), "model_not_found")
        assert document["available"] == ["nomic-embed-text", "llama3.1"]
    assert simulator.calls_to(UPSTREAM_PATHS[endpoint]) == []


@both
async def test_without_a_model_list_the_requested_name_is_sent(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    simulator: Simulator,
    endpoint: str,
    body: dict[str, Any],
) -> None:
    simulator.fault(Fault(path="/api/tags", status=500, times=None))
    async with serve_quietly(make_settings(), simulator) as url:
        answer = await succeed(client, url, endpoint, body | {"model": "LLAMA3.1:latest"})
    assert (answer["model"], answer["fallback"]) == ("LLAMA3.1", False)
    assert simulator.calls_to(UPSTREAM_PATHS[endpoint])[0].body["model"] == "LLAMA3.1:latest"

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from simulator import Fault, Simulator
from tests.api import GENERATE, fault_id, get, problem_in, serve_quietly, succeed
from tests.conftest import MakeSettings

TAGS = "/api/tags"
REFRESH = "?force_refresh=true"


@pytest.fixture
async def url(make_settings: MakeSettings, simulator: Simulator) -> AsyncIterator[str]:
    """The service before it has a cached list."""
    async with serve_quietly(make_settings(), simulator) as url:
        yield url


async def models(client: aiohttp.ClientSession, url: str, query: str = "") -> dict[str, Any]:
    answer = await get(client, f"{url}/api/ollama/models{query}")
    assert answer.status == 200, answer.body
    listed: dict[str, Any] = answer.json()
    return listed


async def test_models_have_their_short_and_their_exact_name(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.install("gpt-oss:20b")
    simulator.install("hf.co/me/model:latest")
    listed = await models(client, url)
    assert {model["name"]: model["model"] for model in listed["models"]} == {
        "gpt-oss": "gpt-oss:latest",
        "gpt-oss:20b": "gpt-oss:20b",
        "llama3.1": "llama3.1:latest",
        "nomic-embed-text": "nomic-embed-text:latest",
        "hf.co/me/model": "hf.co/me/model:latest",
    }
    for model in listed["models"]:
        assert model.keys() == {"name", "model", "size", "modified_at", "digest", "details", "capabilities"}
        assert isinstance(model["size"], int)


async def test_capabilities_are_absent_when_ollama_gives_none(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    body = b'{"models":[{"name":"old:latest","model":"old:latest","size":1,"digest":"a","details":{}}]}'
    simulator.fault(Fault(path=TAGS, body=body, content_type="application/json"))
    listed = await models(client, url)
    assert listed["models"] == [
        {"name": "old", "model": "old:latest", "size": 1, "digest": "a", "details": {}, "modified_at": None}
    ]


async def test_the_list_is_cached_until_a_refresh_is_forced(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    seen = [await models(client, url, query) for query in ("", "", REFRESH, "?force_refresh=false")]
    assert [listed["cached"] for listed in seen] == [False, True, False, True]
    assert [listed["stale"] for listed in seen] == [False] * 4
    assert all(0 <= listed["age_seconds"] < 10 for listed in seen)
    assert len(simulator.calls_to(TAGS)) == 2


@pytest.mark.parametrize("query", ["", REFRESH])
async def test_concurrent_requests_share_one_call(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, query: str
) -> None:
    simulator.fault(Fault(path=TAGS, delay_seconds=0.1))
    seen = await asyncio.gather(*(models(client, url, query) for _ in range(20)))
    assert len(simulator.calls_to(TAGS)) == 1
    assert all(listed["models"] == seen[0]["models"] for listed in seen)


async def test_no_models_is_an_empty_list(client: aiohttp.ClientSession, make_settings: MakeSettings) -> None:
    async with (
        Simulator(models=[]) as empty,
        serve_quietly(make_settings(ollama_base_url=empty.url), empty) as url,
    ):
        assert (await models(client, url))["models"] == []


async def test_503_if_ollama_is_unreachable_and_no_list_is_cached(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    await simulator.stop()
    answer = await get(client, f"{url}/api/ollama/models")
    assert problem_in(answer, "ollama_unavailable")["retryable"] is True


async def test_the_last_list_is_returned_as_stale(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator
) -> None:
    async with serve_quietly(make_settings(ollama_models_ttl=0.01), simulator) as url:
        fresh = await models(client, url)
        await simulator.stop()
        await asyncio.sleep(0.02)
        stale = await models(client, url)
        forced = await get(client, f"{url}/api/ollama/models{REFRESH}")
        await simulator.start()
        again = await models(client, url)
    assert (stale["cached"], stale["stale"], stale["models"]) == (True, True, fresh["models"])
    assert stale["age_seconds"] >= 0.02
    problem_in(forced, "ollama_unavailable")
    assert (again["cached"], again["stale"]) == (False, False)


async def test_a_forced_refresh_fails_with_503_despite_a_cached_list(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    await models(client, url)
    await simulator.stop()
    problem_in(await get(client, f"{url}/api/ollama/models{REFRESH}"), "ollama_unavailable")
    assert (await models(client, url))["stale"] is False


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(path=TAGS, status=500), "ollama_error"),
        (Fault(path=TAGS, status=503), "ollama_busy"),
        (Fault(path=TAGS, body=b"<html>proxy</html>"), "ollama_error"),
        (Fault(path=TAGS, body=b'{"models":["gpt-oss"]}'), "ollama_error"),
        (Fault(path=TAGS, body=b"404 page not found", status=404), "ollama_error"),
        (Fault(path=TAGS, truncate_body=True), "ollama_error"),
        (Fault(path=TAGS, garbage_status_line=True), "ollama_error"),
        (Fault(path=TAGS, reset_after=0, times=2), "ollama_error"),
    ],
    ids=fault_id,
)
async def test_a_failure_is_not_cached_as_an_empty_list(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, fault: Fault, code: str
) -> None:
    simulator.fault(fault)
    problem_in(await get(client, f"{url}/api/ollama/models"), code)
    listed = await models(client, url)
    assert len(listed["models"]) == 3
    assert listed["cached"] is False


async def test_force_refresh_must_be_a_bool(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    document = problem_in(await get(client, f"{url}/api/ollama/models?force_refresh=soon"), "invalid_request")
    assert [line["field"] for line in document["errors"]] == ["force_refresh"]
    assert simulator.calls == []


async def test_a_model_pulled_after_the_list_was_cached_is_found(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    await models(client, url)
    simulator.install("qwen3")
    answer = await succeed(client, url, "generate", GENERATE | {"model": "qwen3"})
    assert (answer["model"], answer["fallback"]) == ("qwen3", False)
    assert simulator.calls_to("/api/generate")[-1].body["model"] == "qwen3:latest"
    assert len(simulator.calls_to(TAGS)) == 2
    assert "qwen3" in [model["name"] for model in (await models(client, url))["models"]]

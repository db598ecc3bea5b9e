"""API keys: which are accepted, which paths need one, and what a rejection says."""

import aiohttp
import pytest
from yarl import URL

from simulator import Simulator
from tests.api import GENERATE, call, get, post, problem_in

GOOD = [
    {"Authorization": "Bearer first-key"},
    {"Authorization": "bearer first-key"},
    {"Authorization": "Bearer   first-key "},
    {"X-API-Key": "first-key"},
    {"X-API-Key": "schlüssel"},
    {"Authorization": "Basic abc", "X-API-Key": "first-key"},
    {"Authorization": "Bearer of-a-proxy", "X-API-Key": "first-key"},
]
NO_KEY = [
    {},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer "},
    {"Authorization": "Basic first-key"},
    {"Authorization": "first-key"},
    {"X-API-Key": ""},
    {"Cookie": "X-API-Key=first-key"},
]
WRONG_KEY = [
    {"Authorization": "Bearer wrong"},
    {"Authorization": "Bearer first-ke"},
    {"Authorization": "Bearer first-key2"},
    {"X-API-Key": "wrong"},
    {"X-API-Key": "FIRST-KEY"},
    {"X-API-Key": "first-key,schlüssel"},
]
NEEDS_KEY = "This call needs an API key, as `Authorization: Bearer` or `X-API-Key`."
NOT_VALID = "The API key is not valid."
KEYED = [
    ("GET", "/api/ollama/models"),
    ("POST", "/api/ollama/generate"),
    ("POST", "/api/ollama/chat"),
    ("POST", "/api/ollama/embeddings"),
    ("GET", "/api/ollama/nowhere"),
    ("GET", "/nowhere"),
    ("DELETE", "/api/ollama/generate"),
    ("GET", "/%61pi/ollama/models"),
    ("GET", "/api/ollama/models/"),
]


@pytest.mark.parametrize("headers", GOOD, ids=str)
async def test_a_valid_key_is_accepted(client: aiohttp.ClientSession, locked: str, headers: dict[str, str]) -> None:
    assert (await get(client, f"{locked}/api/ollama/models", headers=headers)).status == 200


@pytest.mark.parametrize(
    ("headers", "detail"), [(one, NEEDS_KEY) for one in NO_KEY] + [(one, NOT_VALID) for one in WRONG_KEY], ids=str
)
async def test_the_detail_tells_a_wrong_key_from_a_missing_one(
    client: aiohttp.ClientSession, locked: str, simulator: Simulator, headers: dict[str, str], detail: str
) -> None:
    answer = await post(client, locked, "generate", GENERATE, headers=headers)
    document = problem_in(answer, "unauthorized")
    assert document["detail"] == detail
    assert document["title"] == "An API key is required"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert simulator.calls_to("/api/generate") == []


@pytest.mark.parametrize(("method", "path"), KEYED)
async def test_every_api_path_needs_a_key_even_if_it_does_not_exist(
    client: aiohttp.ClientSession, locked: str, method: str, path: str
) -> None:
    problem_in(await call(client, method, URL(locked + path, encoded=True), allow_redirects=False), "unauthorized")


async def test_the_key_is_checked_before_the_body(client: aiohttp.ClientSession, locked: str) -> None:
    for body in (b"{", b"x" * 2000):
        answer = await call(client, "POST", f"{locked}/api/ollama/generate", data=body)
        problem_in(answer, "unauthorized")


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/health/live", "/openapi.json"])
async def test_probes_need_no_key(client: aiohttp.ClientSession, locked: str, path: str) -> None:
    assert (await get(client, locked + path)).status == 200


async def test_no_key_goes_upstream(client: aiohttp.ClientSession, locked: str, simulator: Simulator) -> None:
    headers = {"Authorization": "Bearer first-key", "X-API-Key": "first-key"}
    assert (await post(client, locked, "generate", GENERATE, headers=headers)).status == 200
    assert all("first-key" not in str(seen.headers) for seen in simulator.calls)


async def test_without_keys_none_is_needed(client: aiohttp.ClientSession, url: str) -> None:
    assert (await get(client, f"{url}/api/ollama/models", headers={"X-API-Key": "any"})).status == 200

"""Responses of Ollama in undocumented formats."""

import json
import logging
from typing import Any

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.api import CHAT, EMBEDDINGS, GENERATE, get, post, problem_in, succeed
from tests.conftest import MakeSettings
from tests.serving import serve
from tests.sse import EVENT_FORMS, events_in

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


# Answers


DONE: dict[str, Any] = {"done": True, "done_reason": "stop"}
SPARSE: list[dict[str, Any]] = [
    {"message": None, "response": "Hi"},
    {"message": {"content": "Hi", "thinking": None, "tool_calls": None, "images": None}},
    {"message": {"content": "Hi", "tool_calls": []}, "response": None},
    {"response": "Hi", "thinking": None, "tool_calls": None, "context": None, "error": None},
    {"response": "Hi", "unknown": {"a": [1]}, "logprobs": None},
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("answer", SPARSE, ids=str)
async def test_null_fields_are_ignored(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, answer: dict[str, Any], stream: bool
) -> None:
    simulator.fault(Fault(body=json.dumps(answer | DONE).encode() + b"\n"))
    if not stream:
        document = await succeed(client, url, "chat", CHAT)
        assert (document["response"], document["thinking"], document["message"]["tool_calls"]) == ("Hi", None, None)
        return
    for accept in EVENT_FORMS:
        simulator.clear_faults()
        simulator.fault(Fault(body=json.dumps(answer | DONE).encode() + b"\n"))
        events = events_in(await post(client, url, "chat", CHAT | {"stream": True}, accept))
        assert [event["type"] for event in events] == ["start", "token", "done"]


@pytest.mark.parametrize("reason", [None, ""])
async def test_a_missing_done_reason_is_null(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, reason: object
) -> None:
    body = {"response": "Hi", "done": True, "done_reason": reason}
    simulator.fault(Fault(body=json.dumps(body).encode()))
    assert (await succeed(client, url, "generate", GENERATE))["done_reason"] is None


NO_COUNTS: list[object] = [None, "12", -1, 1.5, True, 2**64 - 1, 1e300, []]


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (12.0, 12),
        (12, 12),
        (0, 0),
        *((odd, None) for odd in NO_COUNTS),
    ],
)
async def test_counts_are_non_negative_integers_or_null(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, value: object, count: int | None
) -> None:
    names = ("prompt_eval_count", "eval_count", "total_duration", "load_duration", "eval_duration")
    body = {"response": "Hi"} | DONE | dict.fromkeys(names, value)
    simulator.fault(Fault(body=json.dumps(body).encode()))
    answer = await succeed(client, url, "generate", GENERATE)
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (count, count)
    assert answer["timings"]["total_ms"] == (None if count is None else count / 1_000_000)
    simulator.fault(Fault(body=json.dumps({"embeddings": [[1.0]], "prompt_eval_count": value}).encode()))
    assert (await succeed(client, url, "embeddings", EMBEDDINGS))["usage"] == {"prompt_tokens": count}


# Vectors


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

import json
import math
from typing import Any

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from simulator.endpoints import NO_EMBEDDINGS
from tests.api import EMBEDDINGS, fault_id, post, problem_in, succeed
from tests.conftest import MakeSettings
from tests.serving import serve

EMBED, LEGACY = "/api/embed", "/api/embeddings"
TOO_OLD = Fault(path=EMBED, status=404, body=b"404 page not found", content_type="text/plain", times=None)


def length(vector: list[float]) -> float:
    return math.hypot(*vector)


async def test_a_text_returns_a_single_vector(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    answer = await post(client, url, "embeddings", EMBEDDINGS)
    document = answer.json()
    vector = document.pop("embeddings")
    assert len(vector) == 768
    assert length(vector) == pytest.approx(1, abs=1e-5)
    (seen,) = simulator.calls_to(EMBED)
    assert seen.body == {
        "model": "nomic-embed-text:latest",
        "input": [EMBEDDINGS["text"]],
        "truncate": True,
        "options": {},
    }
    assert document == {
        "success": True,
        "dimension": 768,
        "model": "nomic-embed-text",
        "prefix": None,
        "usage": {"prompt_tokens": 6},
        "warnings": [],
    }
    assert (answer.headers["X-Model"], answer.headers["X-Model-Fallback"]) == ("nomic-embed-text", "false")


async def test_a_list_returns_vectors_in_order(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    texts = ["quarterback", "running back", "quarterback"]
    many = await succeed(client, url, "embeddings", {"text": texts})
    assert len(simulator.calls_to(EMBED)) == 1
    assert (len(many["embeddings"]), many["dimension"]) == (3, 768)
    for text, vector in zip(texts, many["embeddings"], strict=True):
        assert (await succeed(client, url, "embeddings", {"text": text}))["embeddings"] == vector
    one = await succeed(client, url, "embeddings", {"text": ["quarterback"]})
    assert one["embeddings"] == many["embeddings"][:1]


async def test_fields_are_sent_upstream(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    simulator.install("bge-m3", width=32)
    more = {"model": "BGE-M3", "dimensions": 8, "truncate": False, "keep_alive": "1m"}
    answer = await succeed(client, url, "embeddings", EMBEDDINGS | more)
    (seen,) = simulator.calls_to(EMBED)
    assert seen.body == {
        "model": "bge-m3:latest",
        "input": [EMBEDDINGS["text"]],
        "dimensions": 8,
        "truncate": False,
        "keep_alive": "1m",
        "options": {},
    }
    assert (answer["dimension"], len(answer["embeddings"]), answer["model"]) == (8, 8, "bge-m3")


async def test_the_default_is_the_embedding_model_setting(
    client: aiohttp.ClientSession, make_settings: MakeSettings
) -> None:
    async with Simulator(models=["bge-m3"]) as other:
        settings = make_settings(ollama_base_url=other.url, embedding_model="bge-m3")
        async with serve(create_app(settings)) as url:
            assert (await succeed(client, url, "embeddings", EMBEDDINGS))["model"] == "bge-m3"


async def test_an_unknown_model_has_no_fallback(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    document = problem_in(await post(client, url, "embeddings", EMBEDDINGS | {"model": "unknown"}), "model_not_found")
    assert set(document["available"]) == {"gpt-oss", "llama3.1", "nomic-embed-text"}
    assert simulator.calls_to(EMBED) == simulator.calls_to(LEGACY) == []


async def test_a_model_removed_after_the_list_was_cached_is_404(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    await succeed(client, url, "embeddings", EMBEDDINGS)
    simulator.remove("nomic-embed-text")
    document = problem_in(await post(client, url, "embeddings", EMBEDDINGS), "model_not_found")
    assert document["retryable"] is False
    assert [seen.body["model"] for seen in simulator.calls_to(EMBED)] == ["nomic-embed-text:latest"] * 2


@pytest.mark.parametrize(
    ("fault", "code", "attempts"),
    [
        (Fault(status=400, message="the input length exceeds the context length"), "rejected_by_ollama", 1),
        (Fault(status=500, message="unsupported value: NaN"), "ollama_error", 1),
        (Fault(status=501, message='{"error":{"message":"no embeddings"}}'), "ollama_error", 1),
        (Fault(status=501, message=NO_EMBEDDINGS), "rejected_by_ollama", 1),
        (Fault(status=500, message=NO_EMBEDDINGS), "rejected_by_ollama", 1),
        (Fault(status=503, message="server busy", times=None), "ollama_busy", 3),
        (Fault(body=b"<html>"), "ollama_error", 1),
        (Fault(body=b'{"embeddings":[]}'), "ollama_error", 1),
        (Fault(body=b'{"embeddings":[[0.1],[0.2]]}'), "ollama_error", 1),
        (Fault(body=b'{"embeddings":[[]]}'), "ollama_error", 1),
        (Fault(body=b'{"embeddings":[["a"]]}'), "ollama_error", 1),
        (Fault(body=b'{"embedding":[0.1]}'), "ollama_error", 1),
        (Fault(reset_after=0), "ollama_error", 1),
        (Fault(truncate_body=True), "ollama_error", 1),
        (Fault(hang=True), "timeout", 1),
    ],
    ids=fault_id,
)
async def test_upstream_failures_have_their_status_and_code(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    simulator: Simulator,
    fault: Fault,
    code: str,
    attempts: int,
) -> None:
    simulator.fault(fault)
    async with serve(create_app(make_settings(ollama_request_timeout=0.3))) as url:
        problem_in(await post(client, url, "embeddings", EMBEDDINGS), code)
    assert len(simulator.calls_to(EMBED)) == attempts
    assert simulator.calls_to(LEGACY) == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"text": ""}, "text"),
        ({"text": []}, "text"),
        ({"text": [""]}, "text.0"),
        ({"text": ["a"] * 513}, "text"),
        ({"text": 5}, "text"),
        ({"text": "a", "dimensions": 0}, "dimensions"),
        ({"text": "a", "input": "a"}, "input"),
    ],
    ids=fault_id,
)
async def test_an_invalid_field_is_422_and_nothing_is_sent(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, fields: dict[str, Any], field: str
) -> None:
    document = problem_in(await post(client, url, "embeddings", fields), "invalid_request")
    assert field in {line["field"] for line in document["errors"]} <= {field, field.partition(".")[0]}
    assert simulator.calls_to(EMBED) == []


# A server too old for /api/embed


@pytest.mark.parametrize("dimensions", [None, 16])
async def test_an_old_server_returns_the_same_vectors(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator, dimensions: int | None
) -> None:
    texts = ["quarterback", "running back"]
    body = {"text": texts, "dimensions": dimensions, "keep_alive": 60}
    async with serve(create_app(make_settings(ollama_num_ctx=1024))) as url:
        new = await succeed(client, url, "embeddings", body)
        simulator.fault(TOO_OLD)
        old = await succeed(client, url, "embeddings", body)
    for one, other in zip(new["embeddings"], old["embeddings"], strict=True):
        assert one == pytest.approx(other, abs=1e-6)
        assert length(other) == pytest.approx(1, abs=1e-6)
    assert old["dimension"] == new["dimension"] == (dimensions or 768)
    assert old["usage"] == {"prompt_tokens": None}
    assert [seen.body for seen in simulator.calls_to(LEGACY)] == [
        {"model": "nomic-embed-text:latest", "prompt": text, "options": {"num_ctx": 1024}, "keep_alive": 60}
        for text in texts
    ]


async def test_an_old_server_returns_a_single_vector_for_a_text(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.fault(TOO_OLD)
    answer = await succeed(client, url, "embeddings", EMBEDDINGS)
    assert length(answer["embeddings"]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(path=LEGACY, status=404, message='model "x" not found, try pulling it first'), "model_not_found"),
        (Fault(path=LEGACY, status=500), "ollama_error"),
        (Fault(path=LEGACY, body=json.dumps({"embedding": []}).encode()), "ollama_error"),
        (Fault(path=LEGACY, status=404, body=b"404 page not found"), "ollama_error"),
    ],
    ids=fault_id,
)
async def test_failures_of_an_old_server(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, fault: Fault, code: str
) -> None:
    simulator.fault(TOO_OLD)
    simulator.fault(fault)
    problem_in(await post(client, url, "embeddings", EMBEDDINGS), code)

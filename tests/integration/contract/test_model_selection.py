"""Names of models, and the fallback."""

from typing import Any

import pytest

from tests.integration.contract.requests import CHAT, FORMS, GENERATE, MODEL, problem
from tests.integration.streams import TEXT, events
from tests.integration.upstreams import Api


@pytest.mark.parametrize(("path", "body"), [("generate", GENERATE), ("chat", CHAT)])
async def test_the_default_model_replaces_an_unknown_one(service: Api, path: str, body: dict[str, Any]) -> None:
    async with service.post(f"/api/ollama/{path}", body | {"model": "nowhere:7b"}) as response:
        answer = await response.json()
        assert response.status == 200
        assert (response.headers["X-Model"], response.headers["X-Model-Fallback"]) == ("gpt-oss", "true")
    assert (answer["model"], answer["requested_model"], answer["fallback"]) == ("gpt-oss", "nowhere:7b", True)
    assert "fallback_model" in answer["warnings"]


@pytest.mark.parametrize("form", FORMS)
async def test_a_stream_reports_the_fallback(service: Api, form: str) -> None:
    body = GENERATE | {"model": "nowhere:7b", "stream": True}
    async with service.post("/api/ollama/generate", body, form) as response:
        assert (response.headers["X-Model"], response.headers["X-Model-Fallback"]) == ("gpt-oss", "true")
        if form == TEXT:
            await response.read()
            return
        start, *_, done = [event async for event in events(response)]
    assert (start["model"], start["requested_model"], start["fallback"]) == ("gpt-oss", "nowhere:7b", True)
    assert "fallback_model" in done["warnings"]


@pytest.mark.parametrize("accept", [None, *FORMS])
async def test_without_fallback_an_unknown_model_is_404(service: Api, accept: str | None) -> None:
    body = GENERATE | {"model": "nowhere:7b", "fallback": False, "stream": accept is not None}
    async with service.post("/api/ollama/generate", body, accept) as response:
        document = await problem(response, 404, "model_not_found")
    assert {"gpt-oss", "llama3.1", "nomic-embed-text"} <= set(document["available"])


async def test_embeddings_have_no_fallback(service: Api) -> None:
    async with service.post("/api/ollama/embeddings", {"text": "one", "model": "nowhere"}) as response:
        document = await problem(response, 404, "model_not_found")
    assert "nomic-embed-text" in document["available"]


@pytest.mark.parametrize(
    "name", ["LLAMA3.1", "llama3.1:latest", "library/llama3.1", "registry.ollama.ai/library/llama3.1"]
)
async def test_a_model_is_found_under_each_of_its_names(service: Api, name: str) -> None:
    answer = await service.answer("/api/ollama/generate", GENERATE | {"model": name, "max_tokens": 2})
    assert (answer["model"], answer["requested_model"], answer["fallback"]) == (MODEL, name, False)


async def test_another_tag_is_another_model(service: Api) -> None:
    async with service.post("/api/ollama/generate", GENERATE | {"model": "llama3.1:8b", "fallback": False}) as response:
        await problem(response, 404, "model_not_found")

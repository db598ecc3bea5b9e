"""Requests that Ollama rejects."""

from typing import Any

import pytest

from tests.integration.contract.requests import CHAT, FORMS, GENERATE, problem
from tests.integration.upstreams import Api


@pytest.mark.parametrize(("path", "body"), [("generate", GENERATE), ("chat", CHAT)])
async def test_an_embedding_model_does_not_generate(service: Api, path: str, body: dict[str, Any]) -> None:
    for accept in (None, *FORMS):
        wrong = body | {"model": "nomic-embed-text", "stream": accept is not None}
        async with service.post(f"/api/ollama/{path}", wrong, accept) as response:
            document = await problem(response, 400, "unsupported_by_model")
        assert "does not support completion; 'gpt-oss' does" in document["detail"]
        assert document["retryable"] is False


@pytest.mark.parametrize(("path", "body"), [("generate", GENERATE), ("chat", CHAT)])
@pytest.mark.parametrize("think", [True, "low"])
async def test_think_is_rejected_for_a_model_without_thinking(
    service: Api, path: str, body: dict[str, Any], think: bool | str
) -> None:
    async with service.post(f"/api/ollama/{path}", body | {"think": think}) as response:
        document = await problem(response, 400, "unsupported_by_model")
    assert "does not support thinking" in document["detail"]


async def test_think_false_is_accepted_for_any_model(service: Api) -> None:
    answer = await service.answer("/api/ollama/generate", GENERATE | {"think": False})
    assert answer["thinking"] is None


@pytest.mark.parametrize(
    "fault",
    [
        {"options": {"temperature": "hot"}},
        {"options": {"stop": [1]}},
        {"format": "xml"},
        {"format": {"type": "banana"}},
        {"keep_alive": "5 parsecs"},
        {"think": "hard"},
        {"images": ["https://example.org/a.png"]},
        {"model": "no such name!"},
        {"temprature": 1},
    ],
    ids=str,
)
async def test_requests_that_ollama_mishandles_are_rejected(service: Api, fault: dict[str, Any]) -> None:
    async with service.post("/api/ollama/generate", GENERATE | fault) as response:
        document = await problem(response, 422, "invalid_request")
    assert document["errors"]


@pytest.mark.parametrize(("path", "body"), [("generate", GENERATE), ("chat", CHAT)])
@pytest.mark.parametrize("schema", [{"type": "string", "pattern": "abc"}, {"required": ["keep"]}], ids=str)
async def test_a_schema_that_ollama_rejects_is_an_error_before_the_stream_starts(
    service: Api, path: str, body: dict[str, Any], schema: dict[str, Any], runs_llama_server: bool
) -> None:
    for accept in (None, *FORMS):
        asked = body | {"format": schema, "stream": accept is not None}
        async with service.post(f"/api/ollama/{path}", asked, accept) as response:
            if runs_llama_server:
                assert response.status == 200
                assert await response.read()
                continue
            document = await problem(response, 502, "ollama_error")
        assert "invalid JSON schema" in document["detail"]

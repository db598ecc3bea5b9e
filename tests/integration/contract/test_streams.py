"""Streamed responses."""

from typing import Any

import pytest

from tests.integration.contract.requests import CHAT, FORMS, GENERATE, MODEL
from tests.integration.streams import NDJSON, SSE, TEXT, events, text_of
from tests.integration.upstreams import Api


@pytest.mark.parametrize(("path", "body"), [("generate", GENERATE), ("chat", CHAT)])
async def test_all_stream_formats_have_the_same_response(service: Api, path: str, body: dict[str, Any]) -> None:
    whole = await service.answer(f"/api/ollama/{path}", body)
    for form in (SSE, NDJSON):
        async with service.post(f"/api/ollama/{path}", body | {"stream": True}, form) as response:
            assert response.status == 200
            assert response.content_type == form
            stream = [event async for event in events(response)]
        assert text_of(stream) == whole["response"]
        assert stream[-1]["usage"] == whole["usage"]
    async with service.post(f"/api/ollama/{path}", body | {"stream": True}, TEXT) as response:
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert await response.text() == whole["response"]


@pytest.mark.parametrize("form", [SSE, NDJSON])
async def test_a_stream_has_a_start_tokens_and_one_end(service: Api, form: str) -> None:
    async with service.post("/api/ollama/generate", GENERATE | {"stream": True}, form) as response:
        stream = [event async for event in events(response)]
        request_id = response.headers["X-Request-ID"]
    start, *tokens, done = stream
    assert start == {
        "type": "start",
        "model": MODEL,
        "requested_model": MODEL,
        "fallback": False,
        "request_id": request_id,
    }
    assert {event["type"] for event in tokens} == {"token"}
    assert len(tokens) > 5
    assert done["type"] == "done"
    assert done["done_reason"] in {"length", "stop"}
    assert done["warnings"] == []
    assert done["timings"]["total_ms"] > 0


@pytest.mark.parametrize("form", FORMS)
async def test_a_stream_has_headers_against_buffering(service: Api, form: str) -> None:
    async with service.post("/api/ollama/generate", GENERATE | {"stream": True}, form) as response:
        await response.read()
        assert response.headers["Cache-Control"] == "no-cache, no-transform"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert "accept" in response.headers["Vary"].lower()
        assert "Content-Length" not in response.headers


async def test_stop_works_in_a_stream(service: Api) -> None:
    whole = (await service.answer("/api/ollama/generate", GENERATE))["response"]
    stop = whole.split()[5]
    async with service.post("/api/ollama/generate", GENERATE | {"stop": stop, "stream": True}, NDJSON) as response:
        stream = [event async for event in events(response)]
    assert text_of(stream) == whole[: whole.index(stop)]
    assert stream[-1]["done_reason"] == "stop"

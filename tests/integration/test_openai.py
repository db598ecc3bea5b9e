"""OpenAI's API, with a real Ollama and with the simulator."""

import json
from typing import Any

import pytest

from tests.integration.upstreams import Api
from tests.openai_api import TOOL, data_in

MODEL = "llama3.1"
CHAT: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
TURN: list[dict[str, Any]] = [
    {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
    {"role": "user", "content": "The points?"},
    {
        "role": "assistant",
        "content": None,
        "reasoning_content": "Look it up.",
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "score", "arguments": '{"week": 3}'}},
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "18.5"},
]


async def test_models(service: Api) -> None:
    async with service.get("/v1/models") as response:
        assert response.status == 200
        models = {model["id"]: model for model in (await response.json())["data"]}
    assert models[MODEL]["created"] > 0
    assert models[MODEL]["owned_by"] == "library"


async def test_a_complete_response(service: Api) -> None:
    answer = await service.answer("/v1/chat/completions", CHAT)
    assert answer["model"] == MODEL
    assert answer["choices"][0]["finish_reason"] in {"stop", "length"}
    assert answer["usage"]["completion_tokens"] > 0


async def test_a_stream_has_the_text_of_a_complete_response(service: Api) -> None:
    same = CHAT | {"seed": 7, "temperature": 0}
    whole = await service.answer("/v1/chat/completions", same)
    async with service.post("/v1/chat/completions", same | {"stream": True}) as response:
        assert response.status == 200
        *chunks, end = data_in(await response.read())
    assert end == "[DONE]"
    deltas = [json.loads(chunk)["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("content", "") for delta in deltas) == whole["choices"][0]["message"]["content"]


async def test_a_tool_result_is_accepted(service: Api) -> None:
    answer = await service.answer("/v1/chat/completions", CHAT | {"messages": TURN, "tools": [TOOL]})
    assert answer["choices"][0]["message"]["role"] == "assistant"


async def test_a_schema_is_followed(service: Api) -> None:
    schema = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    answer = await service.answer("/v1/chat/completions", CHAT | {"response_format": wanted, "max_tokens": 50})
    assert isinstance(json.loads(answer["choices"][0]["message"]["content"])["yes"], bool)


async def test_embeddings(service: Api) -> None:
    answer = await service.answer("/v1/embeddings", {"input": ["one", "two"]})
    assert len(answer["data"]) == 2
    assert sum(x * x for x in answer["data"][0]["embedding"]) == pytest.approx(1, abs=1e-3)

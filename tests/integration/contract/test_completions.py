"""Complete responses."""

import asyncio
import json
from typing import Any

import pytest

from tests.integration.contract.requests import CHAT, FORMS, GENERATE, MODEL, OPTIONS, PROMPT
from tests.integration.streams import NDJSON, SSE, events
from tests.integration.upstreams import Api

SCHEMA = {
    "type": "object",
    "properties": {"keep": {"type": "boolean"}, "position": {"enum": ["QB", "RB", "WR"]}},
    "required": ["keep", "position"],
}


async def test_a_generate_response_is_the_one_of_ollama(service: Api, direct: Api) -> None:
    answer = await service.answer("/api/ollama/generate", GENERATE)
    own = await direct.answer("/api/generate", {"model": MODEL, "prompt": PROMPT, "stream": False, "options": OPTIONS})
    assert answer["response"] == own["response"]
    assert answer["response"]
    assert answer["done_reason"] == own["done_reason"]
    assert answer["usage"] == {
        "prompt_tokens": own["prompt_eval_count"],
        "completion_tokens": own["eval_count"],
        "total_tokens": own["prompt_eval_count"] + own["eval_count"],
        "context_length": 4096,
    }
    assert (answer["success"], answer["model"], answer["requested_model"]) == (True, MODEL, MODEL)
    assert (answer["fallback"], answer["warnings"], answer["thinking"]) == (False, [], None)


async def test_a_chat_response_is_the_one_of_ollama(service: Api, direct: Api) -> None:
    answer = await service.answer("/api/ollama/chat", CHAT)
    own = await direct.answer(
        "/api/chat", {"model": MODEL, "messages": CHAT["messages"], "stream": False, "options": OPTIONS}
    )
    assert answer["response"] == own["message"]["content"]
    assert answer["message"] == {
        "role": "assistant",
        "content": answer["response"],
        "thinking": None,
        "tool_calls": None,
    }
    assert answer["usage"]["completion_tokens"] == own["eval_count"]
    assert answer["usage"]["prompt_tokens"] == own["prompt_eval_count"]


async def test_timings_are_milliseconds(service: Api) -> None:
    began = asyncio.get_running_loop().time()
    answer = await service.answer("/api/ollama/generate", GENERATE)
    elapsed_ms = (asyncio.get_running_loop().time() - began) * 1000
    timings = answer["timings"]
    assert 0 < timings["completion_ms"] <= timings["total_ms"]
    assert timings["load_ms"] + timings["prompt_ms"] <= timings["total_ms"]
    # The simulator adds a duration for reading the prompt that does not pass.
    assert timings["total_ms"] < elapsed_ms + 5
    expected = answer["usage"]["completion_tokens"] / timings["completion_ms"] * 1000
    assert timings["tokens_per_second"] == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("path", "body"), [("generate", GENERATE), ("chat", CHAT)])
async def test_every_response_names_its_request_and_model(service: Api, path: str, body: dict[str, Any]) -> None:
    for accept in (None, *FORMS):
        async with service.post(f"/api/ollama/{path}", body | {"stream": accept is not None}, accept) as response:
            await response.read()
            assert response.headers["X-Model"] == MODEL
            assert response.headers["X-Model-Fallback"] == "false"
            assert response.headers["X-Request-ID"]


async def test_max_tokens_ends_the_response(service: Api) -> None:
    answer = await service.answer("/api/ollama/generate", GENERATE | {"max_tokens": 5})
    assert answer["usage"]["completion_tokens"] == 5
    assert answer["done_reason"] == "length"


async def test_one_token_has_a_rate_only_if_ollama_reports_its_duration(service: Api, runs_llama_server: bool) -> None:
    answer = await service.answer("/api/ollama/generate", GENERATE | {"max_tokens": 1})
    assert answer["usage"]["completion_tokens"] == 1
    timings = answer["timings"]
    if runs_llama_server:
        assert timings["tokens_per_second"] == pytest.approx(1000 / timings["completion_ms"], rel=0.01)
    else:
        assert timings["tokens_per_second"] is None


@pytest.mark.parametrize("as_list", [False, True], ids=["string", "list"])
async def test_stop_ends_the_response_before_the_stop_string(service: Api, as_list: bool) -> None:
    whole = (await service.answer("/api/ollama/generate", GENERATE))["response"]
    stop = whole.split()[5]
    answer = await service.answer("/api/ollama/generate", GENERATE | {"stop": [stop, "§§"] if as_list else stop})
    assert answer["response"] == whole[: whole.index(stop)]
    assert answer["done_reason"] == "stop"


async def test_the_seed_determines_the_response(service: Api) -> None:
    seeds = (1, 2, 1)
    first, other, again = [
        (await service.answer("/api/ollama/generate", GENERATE | {"seed": seed}))["response"] for seed in seeds
    ]
    assert first == again
    assert first != other


async def test_the_system_prompt_reaches_the_model(service: Api) -> None:
    without = await service.answer("/api/ollama/generate", GENERATE)
    given = await service.answer("/api/ollama/generate", GENERATE | {"system": "You know all about football."})
    assert given["usage"]["prompt_tokens"] > without["usage"]["prompt_tokens"]
    assert given["response"] != without["response"]


async def test_a_conversation_with_all_roles_is_accepted(service: Api) -> None:
    call = {"function": {"name": "score", "arguments": {"player": "Kelce"}}}
    messages = [
        {"role": "user", "content": "How many points?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_name": "score", "content": "18.5"},
    ]
    answer = await service.answer("/api/ollama/chat", CHAT | {"messages": messages})
    assert answer["response"]


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_are_accepted(service: Api, stream: bool) -> None:
    parameters = {"type": "object", "properties": {"player": {"type": "string"}}, "required": ["player"]}
    tool = {"type": "function", "function": {"name": "score", "description": "Points.", "parameters": parameters}}
    async with service.post("/api/ollama/chat", CHAT | {"tools": [tool], "stream": stream}, NDJSON) as response:
        assert response.status == 200
        if stream:
            *answer, done = [event async for event in events(response)]
            assert any(event["type"] in {"token", "tool_call"} for event in answer)
            assert done["type"] == "done"
        else:
            message = (await response.json())["message"]
            assert message["content"] or message["tool_calls"]


@pytest.mark.parametrize(("path", "body"), [("generate", GENERATE), ("chat", CHAT)])
async def test_a_response_follows_its_schema(service: Api, path: str, body: dict[str, Any]) -> None:
    answer = await service.answer(f"/api/ollama/{path}", body | {"format": SCHEMA, "max_tokens": 200})
    value = json.loads(answer["response"])
    assert isinstance(value["keep"], bool)
    assert value["position"] in {"QB", "RB", "WR"}
    assert answer["warnings"] == []


async def test_truncated_json_has_a_warning(service: Api) -> None:
    answer = await service.answer("/api/ollama/generate", GENERATE | {"format": "json", "max_tokens": 1})
    assert answer["response"].lstrip().startswith("{")
    assert answer["warnings"] == ["invalid_json"]


@pytest.mark.parametrize("form", [SSE, NDJSON])
async def test_truncated_json_has_a_warning_in_a_stream(service: Api, form: str) -> None:
    body = GENERATE | {"format": "json", "max_tokens": 1, "stream": True}
    async with service.post("/api/ollama/generate", body, form) as response:
        stream = [event async for event in events(response)]
    assert stream[-1]["warnings"] == ["invalid_json"]

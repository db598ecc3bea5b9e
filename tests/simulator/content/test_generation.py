"""Responses of generate and chat."""

import json
import time
from typing import Any

import aiohttp
import pytest

from simulator import ANSWER_TOKENS, THINKING_TOKENS, Simulator
from tests.simulator.requests import CHAT, GENERATE, JSON, lines, post, whole


async def test_a_stream_has_one_token_per_line_and_metrics_on_the_last(client: aiohttp.ClientSession) -> None:
    async with client.post("/api/generate", json=GENERATE) as response:
        assert response.headers["Content-Type"] == "application/x-ndjson"
        assert response.headers["Transfer-Encoding"] == "chunked"
        *tokens, last = [json.loads(line) for line in (await response.read()).splitlines()]
    assert len(tokens) == ANSWER_TOKENS
    assert all(set(token) == {"model", "created_at", "response", "done"} for token in tokens)
    text = "".join(token["response"] for token in tokens)
    assert text.startswith("[simulated llama3.1] ")
    assert not text.isascii()
    assert last["done"] is True
    assert (last["response"], last["done_reason"], last["eval_count"]) == ("", "stop", ANSWER_TOKENS)
    assert last["context"]
    assert last["total_duration"] > last["load_duration"] > 0
    assert last["created_at"].endswith("Z")


async def test_a_complete_response_has_the_text_of_the_stream(client: aiohttp.ClientSession) -> None:
    text = "".join(line["response"] for line in await lines(client, GENERATE))
    async with client.post("/api/generate", json=GENERATE | {"stream": False}) as response:
        assert response.headers["Content-Type"] == JSON
        assert int(response.headers["Content-Length"]) == len(body := await response.read())
    assert not body.endswith(b"\n")
    assert json.loads(body)["response"] == text


async def test_chat_responds_with_a_message_without_context(client: aiohttp.ClientSession) -> None:
    *tokens, last = await lines(client, CHAT)
    assert {token["message"]["role"] for token in tokens} == {"assistant"}
    assert last["message"] == {"role": "assistant", "content": ""}
    assert "context" not in last
    assert "response" not in last
    text = "".join(token["message"]["content"] for token in tokens)
    assert (await whole(client, CHAT))["message"]["content"] == text


@pytest.mark.parametrize("think", [None, False, True, "high"])
async def test_gpt_oss_always_thinks(client: aiohttp.ClientSession, think: object) -> None:
    made = await lines(client, CHAT | {"model": "gpt-oss", "think": think})
    thoughts = [line["message"] for line in made if "thinking" in line["message"]]
    assert len(thoughts) == THINKING_TOKENS
    assert all(message["content"] == "" for message in thoughts)
    assert made[-1]["eval_count"] == THINKING_TOKENS + ANSWER_TOKENS


async def test_thinking_of_other_models_can_be_disabled(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.install("qwen3:4b")
    assert (await whole(client, GENERATE, model="qwen3:4b"))["thinking"]
    assert "thinking" not in await whole(client, GENERATE, model="qwen3:4b", think=False)
    status, answer = await post(client, "/api/generate", GENERATE | {"model": "qwen3:4b", "think": "low"})
    assert (status, answer["error"]) == (400, 'think value "low" is not supported for this model')


async def test_thinking_can_use_up_num_predict(client: aiohttp.ClientSession) -> None:
    answer = await whole(client, GENERATE, model="gpt-oss", options={"num_predict": 4})
    assert answer["response"] == ""
    assert answer["thinking"]
    assert (answer["done_reason"], answer["eval_count"]) == ("length", 4)


async def test_num_predict_and_stop_end_a_response(client: aiohttp.ClientSession) -> None:
    short = await whole(client, GENERATE, options={"num_predict": 3})
    assert (short["done_reason"], short["eval_count"]) == ("length", 3)
    stopped = await whole(client, GENERATE, options={"stop": ["nowhere", " llama3.1]"]})
    assert (stopped["done_reason"], stopped["response"]) == ("stop", "[simulated")


async def test_text_depends_only_on_prompt_and_seed(client: aiohttp.ClientSession) -> None:
    async def text(seed: int | None, prompt: str = "x") -> str:
        answer = await whole(client, GENERATE | {"prompt": prompt}, options={"seed": seed})
        return str(answer["response"])

    assert await text(1) == await text(1)
    assert await text(None) == await text(None)
    assert len({await text(None), await text(1), await text(2), await text(1, "y")}) == 4


async def test_the_model_name_is_echoed_and_its_case_ignored(client: aiohttp.ClientSession) -> None:
    for name in ("LLAMA3.1", "library/llama3.1:latest", "registry.ollama.ai/library/llama3.1", "llama3.1:local"):
        assert (await whole(client, GENERATE, model=name))["model"] == name


@pytest.mark.parametrize(
    ("path", "body", "part"),
    [
        ("/api/generate", {"model": "llama3.1"}, {"response": ""}),
        ("/api/chat", {"model": "llama3.1", "messages": []}, {"message": {"role": "assistant", "content": ""}}),
    ],
)
async def test_an_empty_prompt_gets_one_object_even_if_streamed(
    client: aiohttp.ClientSession, path: str, body: dict[str, Any], part: dict[str, Any]
) -> None:
    for keep_alive, reason in ((None, "load"), (0, "unload")):
        async with client.post(path, json=body | {"stream": True, "keep_alive": keep_alive}) as response:
            assert response.headers["Content-Type"] == JSON
            data = await response.read()
        assert not data.endswith(b"\n")
        answer = json.loads(data)
        assert answer.pop("created_at")
        assert answer == {"model": "llama3.1", "done": True, "done_reason": reason} | part


async def test_gpt_oss_returns_no_text_with_a_format_on_generate(client: aiohttp.ClientSession) -> None:
    answer = await whole(client, GENERATE, model="gpt-oss", format="json")
    assert answer["response"] == ""
    assert "thinking" not in answer
    assert answer["done_reason"] == "stop"
    assert answer["eval_count"] > 0


async def test_a_tool_named_by_the_user_is_called_with_an_arguments_object(client: aiohttp.ClientSession) -> None:
    parameters = {"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]}
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": parameters}}
    asked = CHAT | {"tools": [tool], "messages": [{"role": "USER", "content": "please get_weather"}]}
    made = await lines(client, asked)
    (message,) = [line["message"] for line in made if line["message"].get("tool_calls")]
    (call,) = message["tool_calls"]
    assert message["content"] == ""
    assert call["function"]["name"] == "get_weather"
    assert isinstance(call["function"]["arguments"]["days"], int)
    answered = [*asked["messages"], {"role": "tool", "content": "sunny, get_weather", "tool_name": "get_weather"}]
    assert "tool_calls" not in (await whole(client, asked | {"messages": answered}))["message"]


@pytest.mark.parametrize(("path", "body"), [("/api/generate", GENERATE), ("/api/chat", CHAT)])
async def test_a_long_prompt_is_truncated_unless_truncate_is_false(
    client: aiohttp.ClientSession, path: str, body: dict[str, Any]
) -> None:
    needed = (await whole(client, body))["prompt_eval_count"]
    assert (await whole(client, body, options={"num_ctx": needed - 1}))["prompt_eval_count"] == needed - 1
    assert (await whole(client, body, options={"num_ctx": needed}, truncate=False))["prompt_eval_count"] == needed
    for stream, media_type in ((True, "application/json"), (False, JSON)):
        asked = body | {"options": {"num_ctx": needed - 1}, "truncate": False, "stream": stream}
        async with client.post(path, json=asked) as response:
            assert (response.status, response.headers["Content-Type"]) == (400, media_type)
            error = json.loads(json.loads(await response.read())["error"])["error"]
        assert (error["type"], error["n_prompt_tokens"], error["n_ctx"]) == (
            "exceed_context_size_error",
            needed,
            needed - 1,
        )


@pytest.mark.parametrize("body", [GENERATE, CHAT])
async def test_without_shift_a_response_ends_when_the_context_is_full(
    old_client: aiohttp.ClientSession, body: dict[str, Any]
) -> None:
    client = old_client
    needed = (await whole(client, body))["prompt_eval_count"]
    for room, made in ((-1, 1), (0, 1), (1, 2), (9, 10)):
        answer = await whole(client, body, options={"num_ctx": needed + room}, shift=False)
        assert (answer["eval_count"], answer["done_reason"]) == (made, "length")
        assert ("eval_duration" in answer) == (made > 1)
    answer = await whole(client, body, options={"num_ctx": needed + 9, "num_predict": 3}, shift=False)
    assert answer["eval_count"] == 3
    answer = await whole(client, body, options={"num_ctx": needed + 9})
    assert (answer["eval_count"], answer["done_reason"]) == (ANSWER_TOKENS, "stop")


async def test_tokens_are_delayed_by_seconds_per_token() -> None:
    async with Simulator(seconds_per_token=0.01) as simulator, aiohttp.ClientSession(simulator.url) as client:
        began = time.perf_counter()
        await whole(client, GENERATE, options={"num_predict": 10})
        await lines(client, GENERATE, options={"num_predict": 10})
        assert time.perf_counter() - began >= 0.19

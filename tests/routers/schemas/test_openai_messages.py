"""Conversion of OpenAI messages to Ollama messages, and of tool calls back."""

import json
from typing import Any

import aiohttp
import pytest

from simulator import Fault, Simulator
from tests.openai_api import CHAT, TOOL, ask, complete, error_in, sent

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CALL = {"id": "call_1", "type": "function", "function": {"name": "score", "arguments": '{"week": 3}'}}


async def test_tool_calls_and_results_are_converted_to_ollamas_format(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    messages = [
        {"role": "developer", "content": "Be brief.", "name": "boss"},
        {"role": "user", "content": "The score?", "name": "ann"},
        {"role": "assistant", "content": None, "reasoning_content": "Look it up.", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "18.5"},
        {"role": "tool", "tool_call_id": "lost", "name": "weather", "content": [{"type": "text", "text": "rain"}]},
    ]
    seen = await sent(client, url, simulator, CHAT | {"messages": messages, "tools": [TOOL], "tool_choice": "auto"})
    assert seen["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "The score?"},
        {
            "role": "assistant",
            "content": "",
            "thinking": "Look it up.",
            "tool_calls": [{"id": "call_1", "function": {"name": "score", "arguments": {"week": 3}}}],
        },
        {"role": "tool", "content": "18.5", "tool_name": "score", "tool_call_id": "call_1"},
        {"role": "tool", "content": "rain", "tool_name": "weather", "tool_call_id": "lost"},
    ]
    function = {name: value for name, value in TOOL["function"].items() if name != "strict"}
    assert seen["tools"] == [{"type": "function", "function": function}]


@pytest.mark.parametrize("arguments", ["", "{}", "null", None, {}])
async def test_a_call_without_arguments_is_an_empty_object(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, arguments: object
) -> None:
    call = {"type": "function", "function": {"name": "score", "arguments": arguments}}
    seen = await sent(client, url, simulator, CHAT | {"messages": [{"role": "assistant", "tool_calls": [call]}]})
    assert seen["messages"][0]["tool_calls"] == [{"function": {"name": "score", "arguments": {}}}]


@pytest.mark.parametrize("arguments", ["{", "[1]", "3"])
async def test_arguments_that_are_not_an_object_are_rejected(
    client: aiohttp.ClientSession, url: str, arguments: str
) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "score", "arguments": arguments}}
    answer = await ask(client, url, "chat/completions", {"messages": [{"role": "assistant", "tool_calls": [call]}]})
    error_in(answer, "invalid_request", "messages.0.tool_calls.0.function.arguments")


async def test_arguments_with_too_many_values_are_rejected(client: aiohttp.ClientSession, url: str) -> None:
    arguments = '{"a": [' + "[]," * 200_000 + "[]]}"
    call = {"id": "c", "type": "function", "function": {"name": "score", "arguments": arguments}}
    answer = await ask(client, url, "chat/completions", {"messages": [{"role": "assistant", "tool_calls": [call]}]})
    error_in(answer, "invalid_request", "messages")


async def test_a_tool_call_in_the_response_has_an_id_and_json_text(client: aiohttp.ClientSession, url: str) -> None:
    messages = [{"role": "user", "content": "What is the score?"}]
    answer = await complete(client, url, CHAT | {"messages": messages, "tools": [TOOL]})
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["type"] == "function"
    assert isinstance(json.loads(call["function"]["arguments"])["week"], int)
    result = {"role": "tool", "tool_call_id": call["id"], "content": "18.5"}
    await complete(client, url, CHAT | {"messages": [*messages, choice["message"], result], "tools": [TOOL]})


async def test_calls_without_ids_get_different_ones(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    calls = [{"function": {"name": "score", "arguments": {"week": week}}} for week in (1, 2)]
    body = {"message": {"role": "assistant", "content": "", "tool_calls": calls}, "done": True, "done_reason": "stop"}
    simulator.fault(Fault(body=json.dumps(body).encode(), content_type="application/json"))
    message = (await complete(client, url, CHAT))["choices"][0]["message"]
    assert len({call["id"] for call in message["tool_calls"]}) == 2
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == ['{"week":1}', '{"week":2}']


async def test_content_parts_become_one_text_and_images(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "high"}},
        {"type": "image_url", "image_url": f"data:image/png;base64,{PIXEL}"},
        {"type": "text", "text": "And that?"},
    ]
    simulator.install("llama3.1", ["completion", "vision"])
    seen = await sent(client, url, simulator, CHAT | {"messages": [{"role": "user", "content": parts}]})
    assert seen["messages"] == [{"role": "user", "content": "What is this?\nAnd that?", "images": [PIXEL, PIXEL]}]


@pytest.mark.parametrize(
    ("part", "code", "where"),
    [
        ({"type": "image_url", "image_url": {"url": "https://a.example/x.png"}}, "unsupported_parameter", "image_url"),
        ({"type": "image_url", "image_url": {"url": "HTTP://a.example/x.png"}}, "unsupported_parameter", "image_url"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,!"}}, "invalid_request", "image_url"),
        ({"type": "image_url"}, "invalid_request", "image_url"),
        ({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, "unsupported_parameter", "type"),
        ({"type": "file", "file": {"file_id": "f"}}, "unsupported_parameter", "type"),
    ],
)
async def test_unsupported_content_parts_are_rejected(
    client: aiohttp.ClientSession, url: str, part: dict[str, Any], code: str, where: str
) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "Look"}, part]}]
    answer = await ask(client, url, "chat/completions", {"messages": messages})
    error_in(answer, code, f"messages.0.content.1.{where}")

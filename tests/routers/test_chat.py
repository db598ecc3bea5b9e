"""Features of chat that generate does not have."""

import json
from typing import Any

import aiohttp
import pytest

from simulator import Simulator
from tests.api import CHAT, call, problem_in, succeed

UPSTREAM = "/api/chat"
TOOL = {
    "type": "function",
    "function": {
        "name": "score",
        "description": "Points of a player.",
        "parameters": {"type": "object", "properties": {"week": {"type": "integer"}}, "required": ["week"]},
    },
}


async def test_the_conversation_is_sent_upstream_unchanged(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Sag «Grüezi» 🙂"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "score", "arguments": {"week": 1}}}]},
        {"role": "tool", "tool_name": "score", "content": "18.5"},
    ]
    await succeed(client, url, "chat", {"messages": messages})
    (seen,) = simulator.calls_to(UPSTREAM)
    assert seen.body.keys() == {"model", "messages", "stream", "options"}
    assert (seen.body["model"], seen.body["stream"]) == ("gpt-oss:latest", False)
    assert seen.body["messages"] == messages


async def test_the_response_has_a_message_that_can_be_sent_back(client: aiohttp.ClientSession, url: str) -> None:
    answer = await succeed(client, url, "chat", CHAT | {"model": "gpt-oss"})
    assert answer["message"] == {
        "role": "assistant",
        "content": answer["response"],
        "thinking": answer["thinking"],
        "tool_calls": None,
    }
    assert answer["response"]
    assert answer["thinking"]
    await succeed(client, url, "chat", {"messages": [*CHAT["messages"], answer["message"], *CHAT["messages"]]})


async def test_the_response_has_the_fields_of_generate(client: aiohttp.ClientSession, url: str) -> None:
    chat = await succeed(client, url, "chat", CHAT)
    generate = await succeed(client, url, "generate", {"prompt": "Hi"})
    assert chat.keys() == generate.keys() | {"message"}


@pytest.mark.parametrize("model", ["llama3.1", "unknown:7b"])
async def test_a_tool_call_is_an_object(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, model: str
) -> None:
    messages = [{"role": "user", "content": "What is the score?"}]
    answer = await succeed(client, url, "chat", {"messages": messages, "tools": [TOOL], "model": model})
    (seen,) = simulator.calls_to(UPSTREAM)
    assert seen.body["tools"] == [TOOL]
    (called,) = answer["message"]["tool_calls"]
    assert called["function"]["name"] == "score"
    assert isinstance(called["function"]["arguments"]["week"], int)
    assert answer["response"] == ""
    assert "empty_response_thinking" not in answer["warnings"]
    result = {"role": "tool", "tool_name": "score", "content": "18.5"}
    await succeed(client, url, "chat", {"messages": [*messages, answer["message"], result], "tools": [TOOL]})


async def test_a_tool_nested_too_deeply_is_rejected(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    parameters: dict[str, Any] = {}
    for _ in range(300):
        parameters = {"a": parameters}
    tool = {"type": "function", "function": {"name": "deep", "parameters": parameters}}
    body = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "tools": [tool]})
    headers = {"Content-Type": "application/json"}
    answer = await call(client, "POST", f"{url}/api/ollama/chat", data=body, headers=headers)
    assert problem_in(answer, "invalid_request")["errors"][0]["field"] == "body"
    assert simulator.calls_to("/api/chat") == []

"""Complete chat completions and their requests to Ollama."""

import json
from typing import Any

import aiohttp
import pytest

from routers.schemas.openai import ChatCompletionRequest
from simulator import Fault, Simulator
from tests.openai_api import CHAT, MESSAGES, TOOL, UPSTREAM, ask, complete, error_in, sent

SCHEMA = {"type": "object", "properties": {"start": {"type": "string"}}, "required": ["start"]}
HARMFUL_SCHEMA = {"type": "string", "minLength": 3, "maxLength": 2}


async def test_a_response_has_openais_format(client: aiohttp.ClientSession, url: str) -> None:
    answer = await complete(client, url, CHAT)
    assert answer.keys() == {"id", "object", "created", "model", "choices", "usage", "warnings"}
    assert answer["model"] == "llama3.1"
    (choice,) = answer["choices"]
    assert choice["index"] == 0
    assert choice["finish_reason"] == "stop"
    assert choice["message"].keys() == {"role", "content", "refusal"}
    assert choice["message"]["content"]
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


async def test_reasoning_has_both_field_names(client: aiohttp.ClientSession, url: str) -> None:
    message = (await complete(client, url, CHAT | {"model": "gpt-oss"}))["choices"][0]["message"]
    assert message["reasoning_content"] == message["reasoning"]
    assert message["reasoning"].startswith("[simulated thinking]")


async def test_a_truncated_response_has_finish_reason_length(client: aiohttp.ClientSession, url: str) -> None:
    answer = await complete(client, url, CHAT | {"model": "gpt-oss", "max_completion_tokens": 2})
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["choices"][0]["message"]["content"] == ""
    assert answer["warnings"] == ["empty_response_thinking"]


async def test_missing_token_counts_are_zero(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    body = json.dumps({"message": {"role": "assistant", "content": "Hi"}, "done": True}).encode()
    simulator.fault(Fault(body=body, content_type="application/json"))
    answer = await complete(client, url, CHAT)
    assert answer["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert answer["choices"][0]["finish_reason"] == "stop"


async def test_without_parameters_the_settings_are_used(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    seen = await sent(client, url, simulator, {"messages": MESSAGES})
    assert seen == {
        "model": "gpt-oss:latest",
        "stream": False,
        "messages": MESSAGES,
        "options": {
            "num_predict": 4096,
            "temperature": 0.7,
            "top_p": 0.9,
            "frequency_penalty": 0.0,
            "presence_penalty": 0.0,
        },
    }


async def test_parameters_are_converted_to_ollamas_names(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    body = {
        "max_tokens": 9,
        "max_completion_tokens": 7,
        "temperature": 0,
        "top_p": 0.5,
        "frequency_penalty": 1,
        "presence_penalty": -1,
        "seed": 42,
        "stop": "END",
        "keep_alive": "5m",
        "options": {"top_k": 3, "seed": 1},
        "reasoning_effort": "none",
    }
    seen = await sent(client, url, simulator, CHAT | body)
    assert seen["options"] == {
        "num_predict": 7,
        "temperature": 0,
        "top_p": 0.5,
        "frequency_penalty": 1,
        "presence_penalty": -1,
        "seed": 42,
        "stop": ["END"],
        "top_k": 3,
    }
    assert (seen["keep_alive"], seen["think"]) == ("5m", False)


@pytest.mark.parametrize(
    "harmless",
    [
        dict.fromkeys(ChatCompletionRequest.model_fields.keys() - {"messages"}),
        {"model": "", "max_tokens": 0, "max_completion_tokens": 0, "stop": [], "tools": [], "tool_choice": "", "n": 0},
        {
            "stop": [""],
            "keep_alive": "",
            "response_format": {},
            "reasoning_effort": "",
            "logit_bias": {},
            "functions": [],
        },
        {"n": 1, "logprobs": False, "top_logprobs": 0, "modalities": ["text"], "response_format": {"type": "text"}},
        {"store": True, "metadata": {"a": "b"}, "parallel_tool_calls": False, "user": "u", "service_tier": "auto"},
        {"tools": [TOOL], "tool_choice": "none"},
    ],
    ids=["null", "zero", "more zero", "asking for nothing", "unknown", "no tools wanted"],
)
async def test_unsupported_parameters_without_effect_are_ignored(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, harmless: dict[str, Any]
) -> None:
    plain = await sent(client, url, simulator, {"messages": MESSAGES})
    assert await sent(client, url, simulator, {"messages": MESSAGES} | harmless) == plain


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"logit_bias": {"50256": -100}}, "logit_bias"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"functions": [{"name": "score"}]}, "functions"),
        ({"function_call": {"name": "score"}}, "function_call"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"tools": [TOOL], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "score"}}}, "tool_choice"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_an_unsupported_parameter_is_named_in_the_error(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, body: dict[str, Any], param: str
) -> None:
    answer = await ask(client, url, "chat/completions", CHAT | body)
    assert param in error_in(answer, "unsupported_parameter", param)
    assert simulator.calls_to(UPSTREAM) == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "poet", "content": "Hi"}]}, "messages.0.role"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": False}, "max_tokens"),
        ({"model": "a b"}, "model"),
        ({"reasoning_effort": "enormous"}, "reasoning_effort"),
        ({"stream": "yes"}, "stream"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "nonsense"}}}},
            "response_format.json_schema.schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": HARMFUL_SCHEMA}}},
            "response_format.json_schema.schema",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_an_invalid_parameter_is_named_in_the_error(
    client: aiohttp.ClientSession, url: str, body: dict[str, Any], param: str
) -> None:
    error_in(await ask(client, url, "chat/completions", CHAT | body), "invalid_request", param)


async def test_invalid_json_is_rejected(client: aiohttp.ClientSession, url: str) -> None:
    headers = {"Content-Type": "application/json"}
    async with client.post(f"{url}/v1/chat/completions", data=b"{", headers=headers) as response:
        assert response.status == 422
        assert (await response.json())["error"]["code"] == "invalid_request"


# Structured output


async def test_a_json_schema_is_sent_as_format(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": SCHEMA}}
    answer = await complete(client, url, CHAT | {"response_format": wanted})
    assert json.loads(answer["choices"][0]["message"]["content"]).keys() == {"start"}
    assert simulator.calls_to(UPSTREAM)[-1].body["format"] == SCHEMA
    assert answer["warnings"] == []


async def test_json_object_is_sent_as_format(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    seen = await sent(client, url, simulator, CHAT | {"response_format": {"type": "json_object"}})
    assert seen["format"] == "json"


# Fallback


async def test_the_fallback_model_is_named(client: aiohttp.ClientSession, url: str) -> None:
    answer = await ask(client, url, "chat/completions", CHAT | {"model": "gpt-4o"})
    assert answer.json()["model"] == answer.headers["X-Model"] == "gpt-oss"
    assert answer.headers["X-Model-Fallback"] == "true"
    assert answer.json()["warnings"] == ["fallback_model"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "headers"), [({"fallback": False}, {}), ({}, {"X-Fallback": "false"}), ({}, {"x-fallback": "False "})]
)
async def test_fallback_can_be_disabled(
    client: aiohttp.ClientSession, url: str, stream: bool, body: dict[str, Any], headers: dict[str, str]
) -> None:
    asked = CHAT | {"model": "gpt-4o", "stream": stream} | body
    answer = await ask(client, url, "chat/completions", asked, headers=headers)
    assert "gpt-4o" in error_in(answer, "model_not_found", "model")

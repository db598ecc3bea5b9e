"""Complete responses of generate, and common features of generate and chat."""

import base64
import io
import json
from typing import Any

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.api import (
    GENERATE,
    PIXEL,
    UPSTREAM_PATHS,
    both,
    call,
    post,
    problem_in,
    succeed,
)
from tests.conftest import MakeSettings
from tests.serving import serve

SCHEMA = {"type": "object", "properties": {"keep": {"type": "boolean"}}, "required": ["keep"]}
DEFAULT_OPTIONS = {
    "num_predict": 4096,
    "temperature": 0.7,
    "top_p": 0.9,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
}


async def test_the_defaults_are_sent_upstream(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    await succeed(client, url, "generate", {"prompt": "Hi"})
    (seen,) = simulator.calls_to("/api/generate")
    assert seen.body == {"model": "gpt-oss:latest", "prompt": "Hi", "stream": False, "options": DEFAULT_OPTIONS}


@both
async def test_the_settings_are_sent_upstream(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    simulator: Simulator,
    endpoint: str,
    body: dict[str, Any],
) -> None:
    settings = make_settings(
        max_tokens=100,
        temperature=0.1,
        top_p=0.2,
        frequency_penalty=0.3,
        presence_penalty=-0.4,
        ollama_num_ctx=2048,
        ollama_keep_alive="10m",
    )
    async with serve(create_app(settings)) as url:
        await succeed(client, url, endpoint, body)
        await succeed(client, url, "embeddings", {"text": "Hi"})
    (seen,) = simulator.calls_to(UPSTREAM_PATHS[endpoint])
    assert seen.body["options"] == {
        "num_predict": 100,
        "temperature": 0.1,
        "top_p": 0.2,
        "frequency_penalty": 0.3,
        "presence_penalty": -0.4,
        "num_ctx": 2048,
    }
    assert seen.body["keep_alive"] == "10m"
    (seen,) = simulator.calls_to("/api/embed")
    assert seen.body["options"] == {"num_ctx": 2048}
    assert seen.body["keep_alive"] == "10m"


@both
async def test_the_request_takes_precedence_over_the_settings(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    simulator: Simulator,
    endpoint: str,
    body: dict[str, Any],
) -> None:
    named = {"temperature": 0.0, "top_p": 1.0, "frequency_penalty": -2.0, "presence_penalty": 2.0, "seed": 0}
    asked = named | {"max_tokens": 1, "stop": "END", "keep_alive": -1, "think": False, "format": SCHEMA}
    async with serve(create_app(make_settings(ollama_keep_alive="10m"))) as url:
        await succeed(client, url, endpoint, body | asked | {"options": {"top_k": 3, "temperature": 1.0}})
    (seen,) = simulator.calls_to(UPSTREAM_PATHS[endpoint])
    assert seen.body["options"] == named | {"num_predict": 1, "stop": ["END"], "top_k": 3}
    assert (seen.body["keep_alive"], seen.body["think"], seen.body["format"]) == (-1, False, SCHEMA)


async def test_system_and_images_are_sent_upstream(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.install("llama3.1", ["completion", "vision"])
    more = {"system": "Be brief.", "images": [PIXEL, f"data:image/png;base64,{PIXEL}"]}
    await succeed(client, url, "generate", GENERATE | more)
    (seen,) = simulator.calls_to("/api/generate")
    assert (seen.body["system"], seen.body["images"]) == ("Be brief.", [PIXEL, PIXEL])


async def test_a_large_image_is_sent_upstream(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    simulator.install("gpt-oss", ["completion", "vision"])
    image = base64.b64encode(bytes(3_000_000)).decode()
    data = io.BytesIO(json.dumps({"prompt": "Hi", "images": [image]}).encode())
    headers = {"Content-Type": "application/json"}
    answer = await call(client, "POST", f"{url}/api/ollama/generate", data=data, headers=headers)
    assert answer.status == 200
    (seen,) = simulator.calls_to("/api/generate")
    assert seen.body["images"] == [image]


@both
async def test_num_ctx_cannot_differ_from_the_setting(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    simulator: Simulator,
    endpoint: str,
    body: dict[str, Any],
) -> None:
    async with serve(create_app(make_settings(ollama_num_ctx=2048))) as url:
        answer = await post(client, url, endpoint, body | {"options": {"num_ctx": 4096}})
        await succeed(client, url, endpoint, body | {"options": {"num_ctx": 2048}})
    assert "OLLAMA_NUM_CTX" in problem_in(answer, "invalid_request")["detail"]
    assert len(simulator.calls_to(UPSTREAM_PATHS[endpoint])) == 1


@both
async def test_no_header_of_the_client_is_sent_upstream(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, endpoint: str, body: dict[str, Any]
) -> None:
    theirs = {
        "Origin": "https://app.example",
        "Referer": "https://app.example/page",
        "Cookie": "session=1",
        "Authorization": "Bearer theirs",
        "X-API-Key": "theirs",
        "X-Forwarded-For": "192.0.2.1",
        "X-Request-ID": "abc",
        "Accept-Language": "de",
        "User-Agent": "browser",
    }
    await post(client, url, endpoint, body, headers=theirs)
    for seen in (*simulator.calls_to(UPSTREAM_PATHS[endpoint]), *simulator.calls_to("/api/tags")):
        assert not {name.lower() for name in theirs} & {name.lower() for name in seen.headers} - {"user-agent"}
        assert seen.headers.get("User-Agent") != "browser"


async def test_the_response_has_all_fields(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    answer = await succeed(client, url, "generate", GENERATE | {"seed": 7})
    text, usage, timings = answer.pop("response"), answer.pop("usage"), answer.pop("timings")
    assert text.startswith("[simulated llama3.1]")
    assert answer == {
        "success": True,
        "model": "llama3.1",
        "requested_model": "llama3.1",
        "fallback": False,
        "thinking": None,
        "done_reason": "stop",
        "warnings": [],
    }
    assert usage.keys() == {"prompt_tokens", "completion_tokens", "total_tokens", "context_length"}
    assert usage["context_length"] == 4096
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] == simulator.answer_tokens
    assert timings.keys() == {"total_ms", "load_ms", "prompt_ms", "completion_ms", "tokens_per_second"}
    assert all(number > 0 for number in timings.values())
    assert timings["completion_ms"] < timings["total_ms"] < 60_000


async def test_numbers_missing_from_ollamas_response_are_null(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    body = b'{"model":"llama3.1","response":"Hi","done":true}'
    simulator.fault(Fault(body=body, content_type="application/json; charset=utf-8"))
    answer = await succeed(client, url, "generate", GENERATE)
    assert set(answer["usage"].values()) == set(answer["timings"].values()) == {None}
    assert answer["done_reason"] is None


@both
async def test_thinking_is_separate_from_the_text(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, endpoint: str, body: dict[str, Any]
) -> None:
    answer = await succeed(client, url, endpoint, body | {"model": "gpt-oss", "think": "low"})
    assert answer["thinking"].startswith("[simulated thinking]")
    assert answer["response"].startswith("[simulated gpt-oss]")
    assert answer["warnings"] == []
    assert simulator.calls_to(UPSTREAM_PATHS[endpoint])[0].body["think"] == "low"


@both
async def test_a_response_with_only_thinking_has_a_warning(
    client: aiohttp.ClientSession, url: str, endpoint: str, body: dict[str, Any]
) -> None:
    answer = await succeed(client, url, endpoint, body | {"model": "gpt-oss", "max_tokens": 4})
    assert (answer["response"], answer["done_reason"]) == ("", "length")
    assert answer["thinking"]
    assert answer["warnings"] == ["empty_response_thinking"]


@both
@pytest.mark.parametrize("format_", ["json", SCHEMA])
async def test_valid_json_has_no_warning(
    client: aiohttp.ClientSession, url: str, endpoint: str, body: dict[str, Any], format_: Any
) -> None:
    assert (await succeed(client, url, endpoint, body | {"format": format_}))["warnings"] == []


@both
@pytest.mark.parametrize("format_", ["json", SCHEMA])
async def test_truncated_json_has_a_warning(
    client: aiohttp.ClientSession, url: str, endpoint: str, body: dict[str, Any], format_: Any
) -> None:
    answer = await succeed(client, url, endpoint, body | {"format": format_, "max_tokens": 1})
    assert answer["warnings"] == ["invalid_json"]


@both
async def test_the_headers_name_the_model(
    client: aiohttp.ClientSession, url: str, endpoint: str, body: dict[str, Any]
) -> None:
    answer = await post(client, url, endpoint, body | {"model": "LLAMA3.1:latest"})
    assert (answer.headers["X-Model"], answer.headers["X-Model-Fallback"]) == ("llama3.1", "false")
    assert (answer.json()["model"], answer.json()["requested_model"]) == ("llama3.1", "LLAMA3.1:latest")
    assert answer.headers["Vary"] == "Accept"


@both
async def test_without_a_model_the_default_model_is_used(
    client: aiohttp.ClientSession, make_settings: MakeSettings, endpoint: str, body: dict[str, Any]
) -> None:
    async with serve(create_app(make_settings(default_model="llama3.1"))) as url:
        answer = await succeed(client, url, endpoint, body | {"model": None})
    assert (answer["model"], answer["requested_model"], answer["fallback"]) == ("llama3.1", "llama3.1", False)

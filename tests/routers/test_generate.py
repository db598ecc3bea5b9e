"""Complete responses of generate, and common features of generate and chat."""

import asyncio
import base64
import io
import json
from typing import Any

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.api import (
    COMPLETIONS,
    GENERATE,
    STATUSES,
    call,
    fault_id,
    get,
    post,
    problem_in,
    serve_quietly,
    succeed,
)
from tests.conftest import MakeSettings
from tests.serving import serve

UPSTREAM = "/api/generate"
PATHS = {"generate": "/api/generate", "chat": "/api/chat"}
PIXEL = "iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"keep": {"type": "boolean"}}, "required": ["keep"]}
DEFAULT_OPTIONS = {
    "num_predict": 4096,
    "temperature": 0.7,
    "top_p": 0.9,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
}

both = pytest.mark.parametrize(("endpoint", "body"), COMPLETIONS, ids=["generate", "chat"])


# Requests to the upstream


async def test_the_defaults_are_sent_upstream(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    await succeed(client, url, "generate", {"prompt": "Hi"})
    (seen,) = simulator.calls_to(UPSTREAM)
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
    (seen,) = simulator.calls_to(PATHS[endpoint])
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
    (seen,) = simulator.calls_to(PATHS[endpoint])
    assert seen.body["options"] == named | {"num_predict": 1, "stop": ["END"], "top_k": 3}
    assert (seen.body["keep_alive"], seen.body["think"], seen.body["format"]) == (-1, False, SCHEMA)


async def test_system_and_images_are_sent_upstream(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.install("llama3.1", ["completion", "vision"])
    more = {"system": "Be brief.", "images": [PIXEL, f"data:image/png;base64,{PIXEL}"]}
    await succeed(client, url, "generate", GENERATE | more)
    (seen,) = simulator.calls_to(UPSTREAM)
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
    assert len(simulator.calls_to(PATHS[endpoint])) == 1


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
    for seen in (*simulator.calls_to(PATHS[endpoint]), *simulator.calls_to("/api/tags")):
        assert not {name.lower() for name in theirs} & {name.lower() for name in seen.headers} - {"user-agent"}
        assert seen.headers.get("User-Agent") != "browser"


# Responses


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
    assert simulator.calls_to(PATHS[endpoint])[0].body["think"] == "low"


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


# Model names and fallback


async def test_another_tag_is_not_used(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    simulator.install("gpt-oss:20b")
    await succeed(client, url, "generate", GENERATE | {"model": "gpt-oss"})
    await succeed(client, url, "generate", GENERATE | {"model": "gpt-oss:20B"})
    assert [seen.body["model"] for seen in simulator.calls_to(UPSTREAM)] == ["gpt-oss:latest", "gpt-oss:20b"]
    simulator.remove("gpt-oss")
    await get(client, f"{url}/api/ollama/models?force_refresh=true")
    answer = await post(client, url, "generate", GENERATE | {"model": "gpt-oss"})
    assert "gpt-oss:20b" in problem_in(answer, "model_not_found")["available"]


@both
async def test_the_default_model_replaces_one_that_is_not_installed(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, endpoint: str, body: dict[str, Any]
) -> None:
    answer = await post(client, url, endpoint, body | {"model": "unknown:7b"})
    document = answer.json()
    assert answer.status == 200
    assert (answer.headers["X-Model"], answer.headers["X-Model-Fallback"]) == ("gpt-oss", "true")
    assert (document["model"], document["requested_model"], document["fallback"]) == ("gpt-oss", "unknown:7b", True)
    assert document["warnings"] == ["fallback_model"]
    (seen,) = simulator.calls_to(PATHS[endpoint])
    assert seen.body["model"] == "gpt-oss:latest"


@both
async def test_fallback_can_be_disabled(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, endpoint: str, body: dict[str, Any]
) -> None:
    answer = await post(client, url, endpoint, body | {"model": "unknown:7b", "fallback": False})
    document = problem_in(answer, "model_not_found")
    assert document["available"] == ["nomic-embed-text", "llama3.1", "gpt-oss"]
    assert document["retryable"] is False
    assert "unknown:7b" in document["detail"]
    assert simulator.calls_to(PATHS[endpoint]) == []


@both
async def test_without_the_default_model_there_is_no_fallback(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, endpoint: str, body: dict[str, Any]
) -> None:
    simulator.remove("gpt-oss")
    for model in ("unknown:7b", None, "gpt-oss"):
        document = problem_in(await post(client, url, endpoint, body | {"model": model}), "model_not_found")
        assert document["available"] == ["nomic-embed-text", "llama3.1"]
    assert simulator.calls_to(PATHS[endpoint]) == []


@both
async def test_without_a_model_list_the_requested_name_is_sent(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    simulator: Simulator,
    endpoint: str,
    body: dict[str, Any],
) -> None:
    simulator.fault(Fault(path="/api/tags", status=500, times=None))
    async with serve_quietly(make_settings(), simulator) as url:
        answer = await succeed(client, url, endpoint, body | {"model": "LLAMA3.1:latest"})
    assert (answer["model"], answer["fallback"]) == ("LLAMA3.1", False)
    assert simulator.calls_to(PATHS[endpoint])[0].body["model"] == "LLAMA3.1:latest"


# Invalid requests

BAD_BODIES: list[tuple[bytes, str]] = [
    (b"", "body"),
    (b"{", "body"),
    (b"[]", "body"),
    (b'"prompt"', "body"),
    (b"null", "body"),
    (b'{"prompt": NaN}', "body"),
    (b'{"prompt": "\xff"}', "body"),
    (b'{"prompt": "\\ud800', "body"),
    (b"[" * 100_000, "body"),
    (b'{"prompt": "Hi", "stop": [' + b"1," * 500_000 + b"1]}", "stop"),
    (b"{" + b",".join(b'"%d": 1' % number for number in range(50_000)) + b"}", "body"),
    (b"{}", "prompt"),
    (b'{"prompt": ""}', "prompt"),
    (b'{"prompt": "Hi", "temperature": "hot"}', "temperature"),
    (b'{"prompt": "Hi", "temperature": 3}', "temperature"),
    (b'{"prompt": "Hi", "max_tokens": 0}', "max_tokens"),
    (b'{"prompt": "Hi", "options": {"num_predict": 0}}', "options.num_predict"),
    (b'{"prompt": "Hi", "seed": 100000000000000000000}', "seed"),
    (b'{"prompt": "Hi", "model": "no such name!"}', "model"),
    (b'{"prompt": "Hi", "model": "x\\r\\nX-Evil: 1://registry.ollama.ai/library/gpt-oss"}', "model"),
    (b'{"prompt": "Hi", "stop": 5}', "stop"),
    (b'{"prompt": "Hi", "format": "xml"}', "format"),
    (b'{"prompt": "Hi", "format": {"type": "banana"}}', "format"),
    (b'{"prompt": "Hi", "think": "hard"}', "think"),
    (b'{"prompt": "Hi", "images": ["https://example.org/a.png"]}', "images.0"),
    (b'{"prompt": "Hi", "keep_alive": "5 parsecs"}', "keep_alive"),
    (b'{"prompt": "Hi", "options": {"num_ctx": "big"}}', "options.num_ctx"),
    (b'{"prompt": "Hi", "options": {"temprature": 1}}', "options.temprature"),
    (b'{"prompt": "Hi", "temprature": 1}', "temprature"),
]


@pytest.mark.parametrize(("body", "field"), BAD_BODIES, ids=lambda value: str(value)[:60])
async def test_an_invalid_body_is_422_with_its_field_and_nothing_is_sent(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, body: bytes, field: str
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await call(client, "POST", f"{url}/api/ollama/generate", data=body, headers=headers)
    document = problem_in(answer, "invalid_request")
    assert {line["field"] for line in document["errors"]} == {field}
    assert all(line["message"] for line in document["errors"])
    assert field in document["detail"]
    assert document["retryable"] is False
    assert simulator.calls_to(UPSTREAM) == []


async def test_all_invalid_fields_are_reported(client: aiohttp.ClientSession, url: str) -> None:
    answer = await post(client, url, "chat", {"messages": [{"role": "robot"}, {"content": 5}], "top_p": 2, "x": 1})
    fields = [line["field"] for line in problem_in(answer, "invalid_request")["errors"]]
    assert sorted(fields) == ["messages.0.role", "messages.1.content", "messages.1.role", "top_p", "x"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_without_json_content_type_is_422_with_a_hint(
    client: aiohttp.ClientSession, url: str, content_type: str
) -> None:
    answer = await call(
        client, "POST", f"{url}/api/ollama/generate", data=b'{"prompt": "Hi"}', headers={"Content-Type": content_type}
    )
    assert "Content-Type: application/json" in problem_in(answer, "invalid_request")["detail"]


# Upstream failures

DIAL = 'Post "http://127.0.0.1:41234/completion": dial tcp 127.0.0.1:41234: connect: connection refused'
HTML = b"<html><body><h1>502 Bad Gateway</h1>nginx</body></html>"

TROUBLE: list[tuple[Fault, str, int]] = [
    (Fault(status=400, message="the prompt is too long"), "rejected_by_ollama", 1),
    (Fault(status=400, body=HTML), "ollama_error", 1),
    (Fault(status=401, message="unauthorized"), "ollama_error", 1),
    (Fault(status=403, body=b""), "ollama_error", 1),
    (Fault(status=404, body=b"404 page not found", content_type="text/plain"), "ollama_error", 1),
    (Fault(status=405, body=b"405 method not allowed", content_type="text/plain"), "ollama_error", 1),
    (Fault(status=302, body=b"", content_type="text/plain"), "ollama_error", 1),
    (Fault(status=499, message="request canceled"), "ollama_error", 1),
    (Fault(status=429, message="slow down", times=None), "ollama_busy", 3),
    (Fault(status=503, message="server busy, please try again.", times=None), "ollama_busy", 3),
    (Fault(status=503, body=HTML, times=None), "ollama_busy", 3),
    (Fault(status=500, message=DIAL), "ollama_error", 1),
    (Fault(status=500, body=b""), "ollama_error", 1),
    (Fault(status=502, body=HTML), "ollama_error", 1),
    (Fault(status=200, body=HTML), "ollama_error", 1),
    (Fault(status=200, body=b""), "ollama_error", 1),
    (Fault(status=200, body=b"[]"), "ollama_error", 1),
    (Fault(status=200, body=b'{"error": "x"}'), "ollama_error", 1),
    (Fault(status=200, body=b'{"message": 5, "done": true}'), "ollama_error", 1),
    (Fault(error_after=1), "ollama_error", 1),
    (Fault(end_after=1), "ollama_error", 1),
    (Fault(truncate_body=True), "ollama_error", 1),
    (Fault(reset_after=1), "ollama_error", 1),
    (Fault(reset_after=0), "ollama_error", 1),
    (Fault(garbage_status_line=True), "ollama_error", 1),
    (Fault(hang=True), "timeout", 1),
    (Fault(stall_after=1), "timeout", 1),
]


@both
@pytest.mark.parametrize(("fault", "code", "attempts"), TROUBLE, ids=fault_id)
async def test_upstream_failures_have_their_status_and_code(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    simulator: Simulator,
    endpoint: str,
    body: dict[str, Any],
    fault: Fault,
    code: str,
    attempts: int,
) -> None:
    await _load(simulator, client, "llama3.1")
    simulator.fault(fault)
    async with serve(create_app(make_settings(ollama_request_timeout=0.3))) as url:
        document = problem_in(await post(client, url, endpoint, body), code)
    assert document["retryable"] is (STATUSES[code] == 503)
    assert "OLLAMA_REQUEST_TIMEOUT" in document["detail"] or code != "timeout"
    assert len(_asked(simulator, PATHS[endpoint])) == attempts


@both
async def test_a_400_of_ollama_keeps_its_message(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, endpoint: str, body: dict[str, Any]
) -> None:
    simulator.install("deepseek-r1")
    answer = await post(client, url, endpoint, body | {"think": "low", "model": "deepseek-r1"})
    assert "is not supported for this model" in problem_in(answer, "rejected_by_ollama")["detail"]


@both
async def test_an_unreachable_ollama_is_503(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, endpoint: str, body: dict[str, Any]
) -> None:
    await simulator.stop()
    document = problem_in(await post(client, url, endpoint, body), "ollama_unavailable")
    assert document["retryable"] is True


async def test_a_busy_ollama_is_retried(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    simulator.fault(Fault(status=503, message="server busy", times=2))
    await succeed(client, url, "generate", GENERATE)
    assert [seen.status for seen in simulator.calls_to(UPSTREAM)] == [503, 503, 200]


@pytest.mark.parametrize(
    ("given", "told"), [("17", "17"), ("9" * 400, "3600"), (None, "5"), ("Sun, 22 Nov 2026 00:00:00 GMT", "5")]
)
async def test_a_busy_ollamas_retry_after_is_passed_on(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, given: str | None, told: str
) -> None:
    simulator.fault(Fault(status=503, message="server busy", times=None, retry_after=given))
    answer = await post(client, url, "generate", GENERATE)
    problem_in(answer, "ollama_busy")
    assert answer.headers["Retry-After"] == told


async def test_a_full_queue_is_503(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator
) -> None:
    one_refused = asyncio.Event()
    simulator.fault(Fault(until=one_refused))
    async with serve(create_app(make_settings(ollama_max_connections=1, ollama_queue_size=0))) as url:
        first = asyncio.create_task(post(client, url, "generate", GENERATE))
        await simulator.received(UPSTREAM)
        document = problem_in(await post(client, url, "generate", GENERATE), "overloaded")
        one_refused.set()
        assert (await first).status == 200
    assert "OLLAMA_QUEUE_SIZE" in document["detail"]
    assert document["retryable"] is True
    assert len(simulator.calls_to(UPSTREAM)) == 1


MESSAGES = [
    "dial tcp 10.1.2.3:11434: connect: connection refused",
    "dial tcp [::1]:11434: connect: connection refused",
    "dial tcp [fe80::1%eth0]:11434: i/o timeout",
    "dial tcp localhost:11434: connect: connection refused",
    "dial tcp: lookup gpu-7.corp.example on 10.0.0.2:53: no such host",
    'Post "http://gpu-7.corp.example:8080/completion": EOF',
    "registry.ollama.ai/library/llama3.1 does not support tools",
]


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("message", MESSAGES)
async def test_addresses_and_hosts_are_removed_from_ollamas_message(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, message: str, status: int
) -> None:
    await _load(simulator, client, "llama3.1")
    simulator.fault(Fault(status=status, message=message))
    document = problem_in(await post(client, url, "generate", GENERATE), STATUS_CODES[status])
    for secret in ("10.1.2.3", "10.0.0.2", "::", "fe80", "localhost", "gpu-7", "corp", "11434", "registry.ollama.ai"):
        assert secret not in document["detail"]


STATUS_CODES = {400: "rejected_by_ollama", 500: "ollama_error"}


async def test_the_runners_message_is_unwrapped(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    wrapped = '{"error":{"code":400,"message":"request (9999 tokens) exceeds the context","type":"x"}}'
    simulator.fault(Fault(status=400, message=wrapped))
    document = problem_in(await post(client, url, "generate", GENERATE), "rejected_by_ollama")
    assert document["detail"] == "Ollama rejected the request: request (9999 tokens) exceeds the context"


async def _load(simulator: Simulator, client: aiohttp.ClientSession, model: str) -> None:
    """Load the model, so that a 500 is not a failed load."""
    await call(client, "POST", f"{simulator.url}/api/generate", json={"model": model})


def _asked(simulator: Simulator, path: str) -> list[Any]:
    return [seen for seen in simulator.calls_to(path) if seen.body and "options" in seen.body]

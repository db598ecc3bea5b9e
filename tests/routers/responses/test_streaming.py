"""Streams of generate and chat in every format; disconnects and shutdown are tested elsewhere."""

from typing import Any

import aiohttp
import pytest

from simulator import Fault, Simulator
from tests.api import (
    CHAT,
    GENERATE,
    UPSTREAM_PATHS,
    both,
    call,
    fault_id,
    post,
    problem_in,
    serve_quietly,
    streamed,
    succeed,
)
from tests.conftest import MakeSettings
from tests.kinds import see
from tests.sse import EVENT_FORMS, FORMS, NDJSON, SSE, TEXT, events_in, text_of

SCHEMA = {"type": "object", "properties": {"keep": {"type": "boolean"}}, "required": ["keep"]}


@both
@pytest.mark.parametrize("form", EVENT_FORMS)
async def test_a_stream_has_a_start_event_tokens_and_one_last_event(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, endpoint: str, body: dict[str, Any], form: str
) -> None:
    answer = await post(client, url, endpoint, streamed(body, model="gpt-oss", seed=7), form)
    start, *pieces, done = events_in(answer)
    assert answer.status == 200
    assert start == {
        "type": "start",
        "model": "gpt-oss",
        "requested_model": "gpt-oss",
        "fallback": False,
        "request_id": answer.headers["X-Request-ID"],
    }
    types = [event["type"] for event in pieces]
    assert types == ["thinking"] * types.count("thinking") + ["token"] * types.count("token")
    assert types.count("token") == simulator.answer_tokens
    assert all(event.keys() == {"type", "text"} for event in pieces)
    assert done.keys() == {"type", "done_reason", "usage", "timings", "warnings"}
    assert (done["type"], done["done_reason"], done["warnings"]) == ("done", "stop", [])
    (seen,) = simulator.calls_to(UPSTREAM_PATHS[endpoint])
    assert (seen.body["stream"], seen.body["model"], seen.outcome) == (True, "gpt-oss:latest", "completed")


@both
async def test_every_format_streams_the_complete_response(
    client: aiohttp.ClientSession, url: str, endpoint: str, body: dict[str, Any]
) -> None:
    body = body | {"model": "gpt-oss", "seed": 7}
    whole = await succeed(client, url, endpoint, body)
    for form in EVENT_FORMS:
        events = events_in(await post(client, url, endpoint, streamed(body), form))
        assert text_of(events) == whole["response"]
        assert text_of(events, "thinking") == whole["thinking"]
        assert events[-1]["usage"] == whole["usage"]
        assert events[-1]["timings"].keys() == whole["timings"].keys()
    answer = await post(client, url, endpoint, streamed(body), TEXT)
    assert answer.body.decode() == whole["response"]


@both
@pytest.mark.parametrize("form", FORMS)
async def test_a_stream_has_its_headers(
    client: aiohttp.ClientSession, url: str, endpoint: str, body: dict[str, Any], form: str
) -> None:
    answer = await post(client, url, endpoint, streamed(body), form, headers={"X-Request-ID": "mine"})
    assert answer.headers["Cache-Control"] == "no-cache, no-transform"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Vary"] == "Accept"
    assert answer.headers["X-Request-ID"] == "mine"
    assert (answer.headers["X-Model"], answer.headers["X-Model-Fallback"]) == ("llama3.1", "false")
    assert "Content-Length" not in answer.headers


@both
@pytest.mark.parametrize("form", FORMS)
async def test_fallback_is_reported_in_headers_and_events(
    client: aiohttp.ClientSession, url: str, endpoint: str, body: dict[str, Any], form: str
) -> None:
    answer = await post(client, url, endpoint, streamed(body, model="unknown:7b"), form)
    assert (answer.headers["X-Model"], answer.headers["X-Model-Fallback"]) == ("gpt-oss", "true")
    if form != TEXT:
        start, *_, done = events_in(answer)
        assert (start["model"], start["requested_model"], start["fallback"]) == ("gpt-oss", "unknown:7b", True)
        assert done["warnings"] == ["fallback_model"]


@pytest.mark.parametrize("form", EVENT_FORMS)
async def test_a_tool_call_is_an_event(client: aiohttp.ClientSession, url: str, form: str) -> None:
    tool = {"type": "function", "function": {"name": "score", "parameters": {"type": "object"}}}
    messages = [{"role": "user", "content": "What is the score?"}]
    events = events_in(await post(client, url, "chat", streamed(CHAT, messages=messages, tools=[tool]), form))
    assert [event["type"] for event in events] == ["start", "tool_call", "done"]
    assert events[1]["tool_call"]["function"]["name"] == "score"


@pytest.mark.parametrize("form", EVENT_FORMS)
@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ({"format": SCHEMA, "max_tokens": 1}, "invalid_json"),
        ({"model": "gpt-oss", "max_tokens": 4}, "empty_response_thinking"),
    ],
)
async def test_the_done_event_has_the_warnings(
    client: aiohttp.ClientSession, url: str, form: str, fields: dict[str, Any], warning: str
) -> None:
    events = events_in(await post(client, url, "generate", streamed(GENERATE, **fields), form))
    assert events[-1]["warnings"] == [warning]


@pytest.mark.parametrize("form", EVENT_FORMS)
async def test_a_response_in_one_object_is_streamed(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, form: str
) -> None:
    body = b'{"model":"llama3.1","response":"Hi","done":true,"done_reason":"load"}'
    simulator.fault(Fault(body=body, content_type="application/json"))
    events = events_in(await post(client, url, "generate", streamed(GENERATE), form))
    assert [event["type"] for event in events] == ["start", "token", "done"]
    assert events[-1]["done_reason"] == "load"
    assert set(events[-1]["usage"].values()) == {None}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fault", [Fault(split_bytes=1), Fault(split_bytes=7), Fault(merge=True)], ids=fault_id)
async def test_chunk_boundaries_do_not_matter(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, form: str, fault: Fault
) -> None:
    simulator.answer_tokens = 12
    body = GENERATE | {"seed": 7}
    whole = await succeed(client, url, "generate", body)
    assert not whole["response"].isascii()
    simulator.fault(fault)
    answer = await post(client, url, "generate", streamed(body), form)
    text = answer.body.decode() if form == TEXT else text_of(events_in(answer))
    assert text == whole["response"]


@both
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("split", [None, 50_000])
async def test_a_last_line_of_two_megabytes_is_parsed(
    client: aiohttp.ClientSession,
    url: str,
    simulator: Simulator,
    endpoint: str,
    body: dict[str, Any],
    form: str,
    split: int | None,
) -> None:
    simulator.fault(Fault(line_bytes=2_000_000, split_bytes=split))
    answer = await post(client, url, endpoint, streamed(body), form)
    assert answer.status == 200
    assert len(answer.body) < 20_000
    assert form == TEXT or events_in(answer)[-1]["type"] == "done"


async def test_a_line_that_exceeds_the_limit_is_an_error(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.fault(Fault(line_bytes=17 * 1024 * 1024))
    events = events_in(await post(client, url, "generate", streamed(GENERATE), NDJSON))
    assert [event["type"] for event in events].count("error") == 1
    assert events[-1]["code"] == "ollama_error"


BEFORE: list[tuple[Fault, str]] = [
    (Fault(status=400, message="no"), "rejected_by_ollama"),
    (Fault(status=500), "ollama_error"),
    (Fault(status=503, message="server busy", times=None), "ollama_busy"),
    (Fault(error_after=0), "ollama_error"),
    (Fault(end_after=0), "ollama_error"),
    (Fault(reset_after=0), "ollama_error"),
    (Fault(body=b"<html>proxy</html>"), "ollama_error"),
    (Fault(body=b"[]\n"), "ollama_error"),
    (Fault(body=b'{"response":5}\n{"response":"","done":true}\n'), "ollama_error"),
    (Fault(hang=True), "timeout"),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("fault", "code"), BEFORE, ids=fault_id)
async def test_a_failure_before_the_first_chunk_has_its_status(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    simulator: Simulator,
    form: str,
    fault: Fault,
    code: str,
) -> None:
    await call(client, "POST", f"{simulator.url}/api/generate", json={"model": "llama3.1"})
    simulator.fault(fault)
    async with serve_quietly(make_settings(ollama_request_timeout=1), simulator) as url:
        document = problem_in(await post(client, url, "generate", streamed(GENERATE), form), code)
    assert document["retryable"] is (code == "ollama_busy")
    assert len(simulator.calls_to("/api/generate")) == (3 if code == "ollama_busy" else 1)


async def test_tokens_before_a_malformed_chunk_are_sent(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.fault(
        Fault(body=b'{"response":"One"}\n{"response":"Two"}\n{"response":3}\n{"response":"","done":true}\n')
    )
    events = events_in(await post(client, url, "generate", streamed(GENERATE), SSE))
    assert [event["type"] for event in events] == ["start", "token", "token", "error"]
    assert events[-1]["code"] == "ollama_error"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fields", [{"model": "unknown", "fallback": False}, {"temperature": 5}])
async def test_a_request_that_is_rejected_has_its_status(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, form: str, fields: dict[str, Any]
) -> None:
    code = "model_not_found" if "model" in fields else "invalid_request"
    problem_in(await post(client, url, "generate", streamed(GENERATE, **fields), form), code)
    assert simulator.calls_to("/api/generate") == []


AFTER = [
    Fault(error_after=3),
    Fault(end_after=3),
    Fault(reset_after=3),
    Fault(stall_after=3),
    Fault(truncate_body=True),
]


@both
@pytest.mark.parametrize("form", EVENT_FORMS)
@pytest.mark.parametrize("fault", AFTER, ids=fault_id)
async def test_a_failure_after_the_first_chunk_is_the_last_event(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    simulator: Simulator,
    endpoint: str,
    body: dict[str, Any],
    form: str,
    fault: Fault,
) -> None:
    simulator.fault(fault)
    async with serve_quietly(make_settings(ollama_stream_idle_timeout=0.2), simulator) as url:
        answer = await post(client, url, endpoint, streamed(body), form)
    start, *tokens, error = events_in(answer)
    assert answer.status == 200
    assert (start["type"], {event["type"] for event in tokens}) == ("start", {"token"})
    assert len(tokens) == (1 if fault.truncate_body else 3)
    assert error.keys() == {"type", "code", "detail", "retryable"}
    stalled = fault.stall_after is not None
    assert (error["type"], error["code"]) == ("error", "timeout" if stalled else "ollama_error")
    assert ("OLLAMA_STREAM_IDLE_TIMEOUT" in error["detail"]) is stalled
    assert error["retryable"] is False
    assert "127.0.0.1" not in error["detail"]
    assert len(simulator.calls_to(UPSTREAM_PATHS[endpoint])) == 1


@pytest.mark.parametrize("fault", AFTER, ids=fault_id)
async def test_a_failure_after_the_first_byte_of_text_closes_the_connection(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator, fault: Fault
) -> None:
    simulator.fault(fault)
    async with serve_quietly(make_settings(ollama_stream_idle_timeout=0.2), simulator) as url:
        seen = await see(client.post(f"{url}/api/ollama/generate", json=streamed(GENERATE)))
    assert (seen.status, seen.cut) == (200, True)
    assert seen.body.startswith(b"[simulated")
    assert b"rror" not in seen.body

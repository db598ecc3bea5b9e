"""Streamed chat completions."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.conftest import MakeSettings
from tests.kinds import nothing_is_left, see
from tests.openai_api import CHAT, STREAMED, UPSTREAM, ask, chunks_in, complete, data_in, error_in, joined
from tests.serving import serve

INTERVAL = 0.05


@pytest.mark.parametrize("accept", ["application/json", "*/*", "text/event-stream", "text/plain"])
async def test_the_format_is_independent_of_accept(client: aiohttp.ClientSession, url: str, accept: str) -> None:
    streamed = await ask(client, url, "chat/completions", STREAMED, headers={"Accept": accept})
    chunks = chunks_in(streamed)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all("usage" not in chunk for chunk in chunks)
    whole = await complete(client, url, CHAT, headers={"Accept": accept})
    assert joined(chunks) == whole["choices"][0]["message"]["content"]


async def test_headers_are_those_of_a_stream(client: aiohttp.ClientSession, url: str) -> None:
    answer = await ask(client, url, "chat/completions", STREAMED | {"model": "gpt-4o"})
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-cache, no-transform"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert (answer.headers["X-Model"], answer.headers["X-Model-Fallback"]) == ("gpt-oss", "true")
    assert "Vary" not in answer.headers
    last = chunks_in(answer)[-1]
    assert (last["model"], last["warnings"]) == ("gpt-oss", ["fallback_model"])


async def test_only_the_last_chunk_has_a_finish_reason(client: aiohttp.ClientSession, url: str) -> None:
    chunks = chunks_in(await ask(client, url, "chat/completions", STREAMED))
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons == [None] * (len(chunks) - 1) + ["stop"]
    assert chunks[-1]["choices"][0]["delta"] == {}


async def test_include_usage_adds_a_chunk_with_usage(client: aiohttp.ClientSession, url: str) -> None:
    body = STREAMED | {"stream_options": {"include_usage": True}}
    *chunks, last = chunks_in(await ask(client, url, "chat/completions", body))
    assert {chunk["usage"] for chunk in chunks} == {None}
    assert last["choices"] == []
    usage = last["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


async def test_reasoning_has_both_field_names(client: aiohttp.ClientSession, url: str) -> None:
    chunks = chunks_in(await ask(client, url, "chat/completions", STREAMED | {"model": "gpt-oss"}))
    assert joined(chunks, "reasoning") == joined(chunks, "reasoning_content")
    assert joined(chunks, "reasoning").startswith("[simulated thinking]")


async def test_tool_calls_are_numbered_and_have_ids(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    lines = [
        {"message": {"tool_calls": [{"function": {"name": "score", "arguments": {"week": week}}}]}} for week in (1, 2)
    ]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in [*lines, {"done": True, "done_reason": "stop"}])
    simulator.fault(Fault(body=body, content_type="application/x-ndjson"))
    chunks = chunks_in(await ask(client, url, "chat/completions", STREAMED))
    calls = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert [call["index"] for call in calls] == [0, 1]
    assert len({call["id"] for call in calls}) == 2
    assert {call["type"] for call in calls} == {"function"}
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"week": 1}, {"week": 2}]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_any_text_is_encoded_correctly(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    text = 'quotes " and \\ and\r\n\n lines, } { NUL \x00, 東京, 🙂, \u2028'
    lines = [{"message": {"thinking": text}}, {"message": {"content": text}}, {"message": {}, "done": True}]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    simulator.fault(Fault(body=body, content_type="application/x-ndjson"))
    chunks = chunks_in(await ask(client, url, "chat/completions", STREAMED))
    assert joined(chunks) == joined(chunks, "reasoning_content") == joined(chunks, "reasoning") == text


# Failures


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(error_after=3), "ollama_error"),
        (Fault(end_after=3), "ollama_error"),
        (Fault(reset_after=3), "ollama_error"),
        (Fault(stall_after=3), "timeout"),
    ],
    ids=["error", "end", "reset", "stall"],
)
async def test_a_failure_mid_stream_is_an_error_without_done(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator, fault: Fault, code: str
) -> None:
    simulator.fault(fault)
    async with serve(create_app(make_settings(ollama_stream_idle_timeout=0.2))) as url:
        answer = await ask(client, url, "chat/completions", STREAMED)
        *chunks, last = data_in(answer.body)
        assert len(chunks) == 4
        error = json.loads(last)["error"]
        assert (error["code"], error["type"], error["param"]) == (code, "server_error", None)
        assert error["message"]
        assert "[DONE]" not in chunks
        await nothing_is_left(client, url, simulator)


async def test_a_tool_call_without_a_name_is_an_error(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    broken = {"message": {"role": "assistant", "content": "", "tool_calls": [{"function": {}}]}, "done": True}
    for _ in range(2):
        simulator.fault(Fault(body=json.dumps(broken).encode() + b"\n", content_type="application/x-ndjson"))
    error_in(await ask(client, url, "chat/completions", CHAT), "ollama_error")
    streamed = await ask(client, url, "chat/completions", STREAMED)
    assert json.loads(data_in(streamed.body)[-1])["error"]["code"] == "ollama_error"


async def test_a_failure_before_the_first_chunk_has_its_status(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.fault(Fault(status=500))
    error_in(await ask(client, url, "chat/completions", STREAMED), "ollama_error")


async def test_an_idle_stream_gets_heartbeats(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator
) -> None:
    simulator.fault(Fault(delay_seconds=0.5))
    async with serve(create_app(make_settings(sse_ping_interval=INTERVAL))) as url:
        answer = await ask(client, url, "chat/completions", STREAMED)
    before, _, _ = answer.body.partition(b"data: ")
    assert before.count(b": ping\n\n") >= 4
    assert joined(chunks_in(answer))


async def test_a_failure_after_a_heartbeat_is_an_error(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator
) -> None:
    simulator.fault(Fault(delay_seconds=0.5, status=500))
    async with serve(create_app(make_settings(sse_ping_interval=INTERVAL))) as url:
        answer = await ask(client, url, "chat/completions", STREAMED)
    (error,) = data_in(answer.body)
    assert json.loads(error)["error"]["code"] == "ollama_error"


# Disconnected clients


@pytest.mark.parametrize("body", [CHAT, STREAMED], ids=["whole", "streamed"])
async def test_disconnecting_stops_the_generation(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, body: dict[str, Any]
) -> None:
    simulator.seconds_per_token = 0.01
    simulator.fault(Fault(endless=True) if body.get("stream") else Fault(hang=True))
    task = asyncio.create_task(see(client.post(f"{url}/v1/chat/completions", json=body)))
    call = await simulator.received(UPSTREAM)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.wait_for(call.ended_event.wait(), 1)
    assert call.outcome == "client_gone"
    await nothing_is_left(client, url, simulator)

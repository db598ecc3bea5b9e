"""Answers of models in undocumented formats."""

import json
from typing import Any

import aiohttp
import pytest

from simulator import Fault, Simulator
from tests.api import CHAT, EMBEDDINGS, GENERATE, post, succeed
from tests.sse import EVENT_FORMS, events_in

DONE: dict[str, Any] = {"done": True, "done_reason": "stop"}
SPARSE: list[dict[str, Any]] = [
    {"message": None, "response": "Hi"},
    {"message": {"content": "Hi", "thinking": None, "tool_calls": None, "images": None}},
    {"message": {"content": "Hi", "tool_calls": []}, "response": None},
    {"response": "Hi", "thinking": None, "tool_calls": None, "context": None, "error": None},
    {"response": "Hi", "unknown": {"a": [1]}, "logprobs": None},
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("answer", SPARSE, ids=str)
async def test_null_fields_are_ignored(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, answer: dict[str, Any], stream: bool
) -> None:
    simulator.fault(Fault(body=json.dumps(answer | DONE).encode() + b"\n"))
    if not stream:
        document = await succeed(client, url, "chat", CHAT)
        assert (document["response"], document["thinking"], document["message"]["tool_calls"]) == ("Hi", None, None)
        return
    for accept in EVENT_FORMS:
        simulator.clear_faults()
        simulator.fault(Fault(body=json.dumps(answer | DONE).encode() + b"\n"))
        events = events_in(await post(client, url, "chat", CHAT | {"stream": True}, accept))
        assert [event["type"] for event in events] == ["start", "token", "done"]


@pytest.mark.parametrize("accept", EVENT_FORMS)
@pytest.mark.parametrize("body", [b"{}", b'{"done": false}', b'{"message": {"content": "Hi"}, "done": false}'])
async def test_a_stream_that_ends_without_newline_and_done_fails(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, body: bytes, accept: str
) -> None:
    simulator.fault(Fault(body=body, content_type="application/x-ndjson"))
    events = events_in(await post(client, url, "chat", CHAT | {"stream": True}, accept))
    assert (events[-1]["type"], events[-1]["code"]) == ("error", "ollama_error")
    await succeed(client, url, "chat", CHAT)


@pytest.mark.parametrize("reason", [None, ""])
async def test_a_missing_done_reason_is_null(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, reason: object
) -> None:
    body = {"response": "Hi", "done": True, "done_reason": reason}
    simulator.fault(Fault(body=json.dumps(body).encode()))
    assert (await succeed(client, url, "generate", GENERATE))["done_reason"] is None


NO_COUNTS: list[object] = [None, "12", -1, 1.5, True, 2**64 - 1, 1e300, []]


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (12.0, 12),
        (12, 12),
        (0, 0),
        *((odd, None) for odd in NO_COUNTS),
    ],
)
async def test_counts_are_non_negative_integers_or_null(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, value: object, count: int | None
) -> None:
    names = ("prompt_eval_count", "eval_count", "total_duration", "load_duration", "eval_duration")
    body = {"response": "Hi"} | DONE | dict.fromkeys(names, value)
    simulator.fault(Fault(body=json.dumps(body).encode()))
    answer = await succeed(client, url, "generate", GENERATE)
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (count, count)
    assert answer["timings"]["total_ms"] == (None if count is None else count / 1_000_000)
    simulator.fault(Fault(body=json.dumps({"embeddings": [[1.0]], "prompt_eval_count": value}).encode()))
    assert (await succeed(client, url, "embeddings", EMBEDDINGS))["usage"] == {"prompt_tokens": count}

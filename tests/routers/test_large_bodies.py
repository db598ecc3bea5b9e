"""Large bodies: time on the event loop, and memory."""

import asyncio
import base64
import gc
import io
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import Scope

from routers.direct_route import validated_body
from routers.responses.problems import problem_for
from routers.schemas.ollama import ChatRequest, EmbeddingsRequest, GenerateRequest
from simulator import Simulator
from tests.event_loop_probe import longest_stall
from tests.service_process import run_service

SIZE = 20_900_000  # just under MAX_REQUEST_BYTES
ALLOCATOR_BYTES = 30_000_000  # memory that a process keeps, independent of the body
STALL_SECONDS = 1.0  # 0.1 on an idle machine
STEP_SECONDS = 0.4  # of processor time; measured: 0.05
SCOPE: Scope = {"type": "http", "headers": [(b"content-type", b"application/json")]}

CALLS = b'{"messages":[{"role":"assistant","tool_calls":['
ARGUMENTS = b'{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"a","arguments":{"a":['
PROMPT = b'{"prompt":"'


def filled(before: bytes, item: bytes, after: bytes, size: int = SIZE) -> bytes:
    """Repeat an item between a start and an end until the size is reached."""
    count = (size - len(before) - len(after)) // len(item) - 1
    return before + item * count + item.removesuffix(b",") + after


WORST: dict[str, tuple[str, Callable[[], bytes], set[int]]] = {
    "bad-images": (
        "chat",
        lambda: orjson.dumps({"messages": [{"role": "user", "images": ["!"] * 1900}] * 300}),
        {413},
    ),
    "bad-messages": (
        "chat",
        lambda: orjson.dumps(
            {"messages": [dict.fromkeys(["role", "content", "images", *map(str, range(9))], 5)] * 2000}
        ),
        {422},
    ),
    "tool-calls": (
        "chat",
        lambda: filled(CALLS, b'{"function":{"name":"a","arguments":{}}},', b"]}]}"),
        {413},
    ),
    "empty-lists": ("chat", lambda: filled(ARGUMENTS, b"[],", b"]}}}]}]}"), {413}),
    "unknown-keys": (
        "chat",
        lambda: b"{" + b",".join(b'"%x":1' % number for number in range(1_000_000)) + b"}",
        {413},
    ),
    "most-tool-calls": (
        "chat",
        lambda: orjson.dumps(
            {"messages": [{"role": "user", "tool_calls": [{"function": {"name": "a", "arguments": {}}}] * 1400}] * 10}
        ),
        {200},
    ),
    "brackets": ("chat", lambda: b"[" * SIZE, {413}),
    "quotes": ("chat", lambda: b'"' * SIZE, {413}),
    "digits": ("chat", lambda: filled(b"", b"1", b""), {422}),
    "commas-in-text": ("chat", lambda: filled(b'{"messages":[{"role":"user","content":"', b",[{", b'"}]}'), {200}),
    "escapes": ("chat", lambda: filled(b'{"messages":[{"role":"user","content":"', rb"\\", b'"}]}'), {200}),
    "half-pair": ("chat", lambda: filled(b'{"messages":[{"role":"user","content":"', b"a", rb'\ud83d"}]}'), {200}),
    "half-pairs": ("generate", lambda: filled(PROMPT, rb"\ud83d", b'"}'), {422}),
    "role": ("chat", lambda: filled(b'{"messages":[{"role":"', b"a", b'"}]}'), {422}),
    "model": ("generate", lambda: filled(b'{"prompt":"a","model":"', b"a", b'"}'), {422}),
    "key": ("generate", lambda: filled(b'{"prompt":"a","', b"a", b'":1}'), {422}),
    "reference": ("generate", lambda: filled(b'{"prompt":"a","format":{"$ref":"#', b"/a", b'"}}'), {422}),
    "alternation": ("generate", lambda: filled(b'{"prompt":"a","format":{"pattern":"', b"a|", b'"}}'), {422}),
    "repetitions": (
        "generate",
        lambda: orjson.dumps(
            {
                "prompt": "a",
                "format": {"properties": {str(at): {"pattern": r"(\w\W){0,8192}<i>"} for at in range(100)}},
            }
        ),
        {422},
    ),
    "numbers": ("chat", lambda: filled(ARGUMENTS, b"0.123456789,", b"]}}}]}]}", 7_000_000), {200}),
    "bad-numbers": ("generate", lambda: filled(b'{"prompt":"a","stop":[', b"1,", b"]}", 1_100_000), {422}),
    "enum": ("generate", lambda: filled(b'{"prompt":"a","format":{"enum":[', b'"a",', b"]}}", 200_000), {422}),
    "image-lines": (
        "chat",
        lambda: orjson.dumps(
            {"messages": [{"role": "user", "images": [base64.encodebytes(bytes(15_000_000)).decode()]}]}
        ),
        {200},
    ),
    "no-image": ("chat", lambda: filled(b'{"messages":[{"role":"user","images":["', b"!", b'"]}]}'), {422}),
}


async def test_the_worst_known_bodies_neither_block_the_service_nor_exhaust_memory(
    client: aiohttp.ClientSession, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.install("gpt-oss", ["completion", "tools", "thinking", "vision"])
    async with run_service(simulator.url, tmp_path) as service:
        for name, (endpoint, make, statuses) in WORST.items():
            body = make()
            before = reset_peak(service.process.pid)
            async with longest_stall(service.port, service.process.pid) as stall:
                url = f"{service.url}/api/ollama/{endpoint}"
                headers = {"Content-Type": "application/json"}
                async with client.post(url, data=io.BytesIO(body), headers=headers) as response:
                    answer = await response.read()
            assert response.status in statuses, (name, answer[:300])
            assert stall.seconds < STALL_SECONDS, name
            assert len(answer) < 50_000, name
            assert peak(service.process.pid) - before < 5 * len(body) + ALLOCATOR_BYTES, name


def reset_peak(pid: int) -> int:
    """Reset the peak memory of a process and return its current memory."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak(pid)


def peak(pid: int) -> int:
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(kilobytes) * 1024


# Search: any JSON item, repeated at any place of a body


@pytest.fixture(scope="module", autouse=True)
def _frozen_heap() -> Iterator[None]:
    """Freeze the objects of pytest for the garbage collector, as a server process does with its imports."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


VALID: list[Any] = [[], {}, {"a": {}}, [[]], "AAAA", {"role": "user"}, {"function": {"name": "a", "arguments": {}}}]
NAMES = st.sampled_from(["role", "content", "function", "name", "type", "pattern", "a"])
ITEMS = st.sampled_from(VALID) | st.recursive(
    st.sampled_from([None, True, 0, 1.5, "", "!", "abc", "é", "\U0001f600", "a,b[{", "https://a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
LISTS: list[tuple[type[BaseModel], list[str | int]]] = [
    (ChatRequest, ["messages"]),
    (ChatRequest, ["messages", 0, "images"]),
    (ChatRequest, ["messages", 0, "tool_calls"]),
    (ChatRequest, ["messages", 0, "tool_calls", 0, "function", "arguments", "a"]),
    (ChatRequest, ["tools"]),
    (ChatRequest, ["tools", 0, "function", "parameters", "enum"]),
    (ChatRequest, ["options", "stop"]),
    (ChatRequest, ["stop"]),
    (GenerateRequest, ["images"]),
    (GenerateRequest, ["format", "enum"]),
    (GenerateRequest, ["format", "anyOf"]),
    (GenerateRequest, ["format", "required"]),
    (GenerateRequest, ["unknown"]),
    (EmbeddingsRequest, ["text"]),
]
BASE: dict[str, Any] = {"prompt": "a", "text": "a", "role": "user", "function": {"name": "a"}, "type": "object"}


def body_with(path: list[str | int], items: list[Any]) -> Any:
    """Return a valid body with a list at a place."""
    value: Any = items
    for part in reversed(path):
        if isinstance(part, int):
            value = [value | {name: BASE[name] for name in ("role",) if "images" in value or "tool_calls" in value}]
        else:
            value = {part: value} | ({"name": "a"} if part in {"arguments", "parameters"} else {})
    return value


def longest_step(model: type[BaseModel], data: bytes) -> float:
    """Return the longest processor time, in seconds, that reading a body takes without yielding."""
    longest = 0.0
    reading = validated_body(model, SCOPE, data)
    while True:
        started_at = time.thread_time()
        try:
            reading.send(None)
        except StopIteration as end:
            if isinstance(end.value, ChatRequest | GenerateRequest):
                orjson.dumps(end.value.to_completion_request().content)
            return max(longest, time.thread_time() - started_at)
        except (RequestValidationError, HTTPException) as error:
            problem_for(error)
            return max(longest, time.thread_time() - started_at)
        longest = max(longest, time.thread_time() - started_at)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(item=ITEMS, place=st.sampled_from(LISTS), size=st.sampled_from([200_000, 15_000_000]))
def test_repeated_items_are_validated_quickly(
    item: Any, place: tuple[type[BaseModel], list[str | int]], size: int
) -> None:
    model, path = place
    text = json.dumps(item, ensure_ascii=False).encode()
    inner = body_with(path, ["\0"])
    if model is GenerateRequest:
        inner["prompt"] = "a"
    before, _, after = orjson.dumps(inner).partition(rb'"\u0000"')
    for count in {size // (len(text) + 1), 2000, 500}:
        data = before + b",".join([text] * count) + after
        assert longest_step(model, data) < STEP_SECONDS


async def test_other_tasks_run_while_a_large_body_is_read() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    await validated_body(GenerateRequest, SCOPE, filled(PROMPT, b"a", b'"}', 5_000_000))
    counting.cancel()
    assert turns > 15
    with pytest.raises(asyncio.CancelledError):
        await counting

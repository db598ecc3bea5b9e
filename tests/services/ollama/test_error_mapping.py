"""Failures of Ollama: their status, code and message."""

import asyncio
from typing import Any

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.api import (
    GENERATE,
    STATUSES,
    UPSTREAM_PATHS,
    both,
    call,
    fault_id,
    post,
    problem_in,
    succeed,
)
from tests.conftest import MakeSettings
from tests.serving import serve

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
    assert len(_asked(simulator, UPSTREAM_PATHS[endpoint])) == attempts


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
    assert [seen.status for seen in simulator.calls_to("/api/generate")] == [503, 503, 200]


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
        await simulator.received("/api/generate")
        document = problem_in(await post(client, url, "generate", GENERATE), "overloaded")
        one_refused.set()
        assert (await first).status == 200
    assert "OLLAMA_QUEUE_SIZE" in document["detail"]
    assert document["retryable"] is True
    assert len(simulator.calls_to("/api/generate")) == 1


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

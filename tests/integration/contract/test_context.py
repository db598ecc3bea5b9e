"""Prompts that are longer than the context."""

from typing import Any

import aiohttp
import pytest

from main import create_app
from tests.integration.contract.requests import GENERATE, problem
from tests.integration.streams import NDJSON, events
from tests.integration.upstreams import Api, Upstream, settings_for
from tests.serving import serve

CONTEXT = 512
SMALL = {"options": {"num_ctx": CONTEXT}, "max_tokens": 3, "model": "llama3.1"}
TOO_LONG: dict[str, dict[str, Any]] = {
    "generate": {"prompt": "who should start this week " * 300},
    "chat": {"messages": [{"role": "user", "content": "who should start this week " * 10}] * 40},
}
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
both_endpoints = pytest.mark.parametrize("endpoint", ["generate", "chat"])


async def last_event(service: Api, endpoint: str, body: dict[str, Any], *, stream: bool) -> dict[str, Any]:
    if not stream:
        return await service.answer(f"/api/ollama/{endpoint}", body)
    async with service.post(f"/api/ollama/{endpoint}", body | {"stream": True}, NDJSON) as response:
        return [event async for event in events(response)][-1]


@both_ways
@both_endpoints
async def test_a_truncated_prompt_is_reported(service: Api, endpoint: str, stream: bool) -> None:
    last = await last_event(service, endpoint, TOO_LONG[endpoint] | SMALL, stream=stream)
    assert (last["warnings"], last["usage"]["context_length"]) == (["prompt_truncated"], CONTEXT)


@both_ways
@both_endpoints
async def test_a_long_prompt_is_rejected_if_truncate_is_false(service: Api, endpoint: str, stream: bool) -> None:
    body = TOO_LONG[endpoint] | SMALL | {"truncate": False, "stream": stream}
    async with service.post(f"/api/ollama/{endpoint}", body) as response:
        await problem(response, 400, "rejected_by_ollama")


@both_endpoints
async def test_a_prompt_is_reported_from_the_first_length_that_does_not_fit(service: Api, endpoint: str) -> None:
    """A prompt that fits exactly has the token count of a truncated one."""

    def body(words: int) -> dict[str, Any]:
        text = "who " * (words // 2)
        turns = [{"role": role, "content": text} for role in ("user", "assistant", "user")]
        wanted = {"prompt": "who " * words} if endpoint == "generate" else {"messages": turns}
        return wanted | SMALL

    async def fits(words: int) -> bool:
        async with service.post(f"/api/ollama/{endpoint}", body(words) | {"truncate": False}) as response:
            return response.status == 200

    fit, too_long = 2, 2 * CONTEXT
    while too_long - fit > 2:
        middle = (fit + too_long) // 4 * 2
        fit, too_long = (middle, too_long) if await fits(middle) else (fit, middle)
    assert (await service.answer(f"/api/ollama/{endpoint}", body(fit)))["warnings"] == []
    async with service.post(f"/api/ollama/{endpoint}", body(too_long)) as response:
        answer = await response.json()
    # Since 0.30, a prompt that is only a little too long is rejected.
    assert answer["warnings"] == ["prompt_truncated"] if response.status == 200 else "exceeds" in answer["detail"]


@both_ways
async def test_a_response_that_ends_at_a_full_context_is_reported(service: Api, stream: bool) -> None:
    body = {"prompt": "who should start " * 8, "options": {"num_ctx": 256}, "max_tokens": 2000, "shift": False}
    last = await last_event(service, "generate", body, stream=stream)
    assert last["usage"]["context_length"] == 256
    assert ("context_full" in last["warnings"]) is (last["done_reason"] == "length")


async def test_a_prompt_longer_than_the_context_gets_a_response(
    client: aiohttp.ClientSession, upstream: Upstream
) -> None:
    settings = settings_for(upstream, ollama_num_ctx=128)
    async with serve(create_app(settings)) as url:
        body = GENERATE | {"prompt": "word " * 2000, "max_tokens": 4}
        answer = await Api(client, url).answer("/api/ollama/generate", body)
    assert answer["response"]
    assert answer["usage"]["prompt_tokens"] <= 128

"""Concurrent requests."""

import asyncio
import json
from typing import Any

from tests.integration.contract.requests import GENERATE
from tests.integration.upstreams import Api


async def test_sixty_concurrent_requests_succeed(service: Api) -> None:
    bodies = [GENERATE | {"max_tokens": 4, "stream": number % 3 == 0} for number in range(60)]

    async def ask(body: dict[str, Any]) -> tuple[int, str]:
        async with service.post("/api/ollama/generate", body) as response:
            text = await response.text()
            return response.status, text if body["stream"] else json.loads(text)["response"]

    answers = await asyncio.gather(*map(ask, bodies))
    assert {status for status, _ in answers} == {200}
    assert len({text for _, text in answers}) == 1
    async with service.get("/health") as response:
        health = await response.json()
    assert (health["ollama"]["running"], health["ollama"]["queued"]) == (0, 0)

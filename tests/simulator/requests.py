"""Requests to the simulator, and readers of its responses."""

import asyncio
import json
from typing import Any

import aiohttp

from simulator import Call

JSON = "application/json; charset=utf-8"
GENERATE: dict[str, Any] = {"model": "llama3.1", "prompt": "tell me something"}
CHAT: dict[str, Any] = {"model": "llama3.1", "messages": [{"role": "user", "content": "hello"}]}
EMBED: dict[str, Any] = {"model": "nomic-embed-text", "input": "hello"}
SOON = 10.0  # for a busy machine


async def post(client: aiohttp.ClientSession, path: str, body: Any) -> tuple[int, Any]:
    async with client.post(path, json=body) as response:
        return response.status, json.loads(await response.read())


async def whole(client: aiohttp.ClientSession, body: dict[str, Any], **more: Any) -> dict[str, Any]:
    path = "/api/chat" if "messages" in body else "/api/generate"
    status, answer = await post(client, path, body | {"stream": False} | more)
    assert status == 200, answer
    assert isinstance(answer, dict)
    return answer


async def lines(client: aiohttp.ClientSession, body: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    path = "/api/chat" if "messages" in body else "/api/generate"
    async with client.post(path, json=body | more) as response:
        assert response.status == 200
        data = await response.read()
    assert data.endswith(b"\n") or not data
    return [json.loads(line) for line in data.splitlines()]


async def ended(call: Call) -> Call:
    async with asyncio.timeout(SOON):
        await call.ended_event.wait()
    return call

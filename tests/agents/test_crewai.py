"""CrewAI's agents through the service, in front of the simulator."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from simulator import Call, Fault
from tests.agents.conftest import Agents

pytestmark = pytest.mark.asyncio(loop_scope="module")

RUN_SECONDS = 300
CHAT = "/api/chat"
WITH_TOOL = "the recent_points of Josh Allen"  # the simulator calls a tool that the last message names


@pytest_asyncio.fixture(loop_scope="module")
async def client(agents: Agents) -> AsyncIterator[aiohttp.ClientSession]:
    agents.simulator.clear_faults()
    agents.simulator.calls.clear()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=RUN_SECONDS)) as session:
        yield session


async def write(client: aiohttp.ClientSession, agents: Agents, topic: str) -> tuple[int, Any]:
    async with client.post(f"{agents.url}/articles", json={"topic": topic}) as response:
        return response.status, await response.json()


def models_asked(calls: list[Call]) -> list[str]:
    return [call.body["model"] for call in calls]


async def test_the_crew_runs_with_its_tool_and_its_structured_result(
    agents: Agents, client: aiohttp.ClientSession
) -> None:
    status, result = await write(client, agents, WITH_TOOL)
    assert status == 200, result
    assert result["article"].keys() == {"headline", "body", "players"}
    assert (result["models"], result["fallback"]) == (["gpt-oss", "gpt-oss", "llama3.1"], False)
    call, told, article = agents.simulator.calls_to(CHAT)
    assert models_asked([call, told, article]) == ["gpt-oss:latest", "gpt-oss:latest", "llama3.1:latest"]
    assert [tool["function"]["name"] for tool in call.body["tools"]] == ["recent_points"]
    assert call.body["options"]["temperature"] == 0.25
    assert article.body["options"]["temperature"] == 0.7  # none was asked for: the service's default
    *_, tool_result = [message for message in told.body["messages"] if message["role"] == "tool"]
    assert "No such player" in tool_result["content"]  # the simulator makes its arguments up
    assert article.body["format"]["required"] == ["headline", "body", "players"]


async def test_nobody_else_is_told(agents: Agents, client: aiohttp.ClientSession) -> None:
    status, result = await write(client, agents, "waivers")
    assert status == 200, result
    assert agents.told == []


async def test_a_fallback_is_reported(agents: Agents, client: aiohttp.ClientSession) -> None:
    agents.simulator.fault(Fault(path=CHAT, model="llama3.1", load_failure=True))
    status, result = await write(client, agents, "waivers")
    assert status == 200, result
    assert (result["models"], result["fallback"]) == (["gpt-oss", "gpt-oss"], True)


async def test_a_busy_service_is_tried_again_by_the_service_alone(
    agents: Agents, client: aiohttp.ClientSession
) -> None:
    agents.simulator.fault(Fault(status=503, message="server busy", retry_after="1", times=None))
    async with client.post(f"{agents.url}/articles", json={"topic": "waivers"}) as response:
        assert (response.status, int(response.headers["Retry-After"])) == (503, 1)
        assert "busy" in (await response.json())["error"]
    assert len(agents.simulator.calls_to(CHAT)) == 2  # OLLAMA_RETRY_ATTEMPTS, once


async def test_a_cancelled_run_stops_the_model(agents: Agents, client: aiohttp.ClientSession) -> None:
    agents.simulator.fault(Fault(hang=True))
    run = asyncio.create_task(write(client, agents, "waivers"))
    async with asyncio.timeout(RUN_SECONDS):
        call = await agents.simulator.received(CHAT)
        assert await agents.are_initialized(client)
        run.cancel()
        await asyncio.wait_for(call.ended_event.wait(), 5)
    assert call.outcome == "client_gone"
    assert not await agents.are_initialized(client)  # until the next process has started
    status, result = await write(client, agents, "trades")
    assert status == 200, result
    assert await agents.are_initialized(client)

"""The `ollama` package of Python."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from simulator import Fault, Simulator
from tests.clients.conftest import API_KEY
from tests.kinds import until
from tests.service_process import ServiceProcess

ollama = pytest.importorskip("ollama", reason="needs tests/clients/requirements.txt (make test-clients)")

HEADERS = {"Authorization": f"Bearer {API_KEY}"}
MODEL = "llama3.1"
MESSAGES = [{"role": "user", "content": "Who should start this week? Ask injury_status."}]
SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {"player": {"type": "string"}, "points": {"type": "number"}},
    "required": ["player", "points"],
}


def injury_status(player: str) -> str:
    """Look up an injury.

    Args:
        player: The name.
    """
    return f"{player} is fit"


@pytest.fixture
async def client(service: ServiceProcess) -> AsyncIterator[Any]:
    client = ollama.AsyncClient(host=service.url, headers=HEADERS, timeout=20)
    yield client
    await client.close()


async def test_list_show_ps(client: Any) -> None:
    assert f"{MODEL}:latest" in [model.model for model in (await client.list()).models]
    assert "completion" in (await client.show(MODEL)).capabilities
    await client.generate(MODEL)
    assert [model.model for model in (await client.ps()).models] == [f"{MODEL}:latest"]


async def test_chat_and_generate(client: Any, simulator: Simulator) -> None:
    answer = await client.chat(MODEL, MESSAGES, options={"seed": 7, "num_ctx": 4096}, think=False, tools=[])
    assert answer.message.content
    assert answer.done
    assert answer.eval_count > 0
    whole = await client.generate(MODEL, "Hi", options={"seed": 7})
    pieces = [piece async for piece in await client.generate(MODEL, "Hi", stream=True, options={"seed": 7})]
    assert "".join(piece.response for piece in pieces) == whole.response
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert simulator.calls_to("/api/chat")[0].body["options"] == {"seed": 7, "num_ctx": 4096}


async def test_tool_calls_and_results(client: Any) -> None:
    answer = await client.chat(MODEL, MESSAGES, tools=[injury_status])
    (call,) = answer.message.tool_calls
    assert call.function.name == "injury_status"
    result = {"role": "tool", "tool_name": call.function.name, "content": injury_status(**call.function.arguments)}
    answer = await client.chat(MODEL, [*MESSAGES, answer.message, result], tools=[injury_status])
    assert answer.message.content


async def test_format(client: Any) -> None:
    answer = await client.chat(MODEL, MESSAGES, format=SCHEMA)
    assert set(json.loads(answer.message.content)) == {"player", "points"}


async def test_embed(client: Any) -> None:
    vectors = (await client.embed("nomic-embed-text", ["a trade", "a waiver"])).embeddings
    assert [len(vector) for vector in vectors] == [768, 768]
    assert len((await client.embeddings("nomic-embed-text", "a trade")).embedding) == 768


async def test_an_unknown_model(client: Any) -> None:
    for asking in (client.chat("llama9", MESSAGES), client.generate("llama9", "Hi"), client.show("llama9")):
        with pytest.raises(ollama.ResponseError, match="not found") as caught:
            await asking
        assert caught.value.status_code == 404


async def test_failures_during_a_stream(client: Any, simulator: Simulator) -> None:
    simulator.fault(Fault(error_after=3, message="it broke"))
    with pytest.raises(ollama.ResponseError, match="it broke"):
        [piece async for piece in await client.chat(MODEL, MESSAGES, stream=True)]
    simulator.fault(Fault(reset_after=3))
    with pytest.raises(Exception, match="incomplete chunked read"):
        [piece async for piece in await client.chat(MODEL, MESSAGES, stream=True)]


async def test_a_missing_key(service: ServiceProcess) -> None:
    client = ollama.AsyncClient(host=service.url)
    with pytest.raises(ollama.ResponseError, match="API key") as caught:
        await client.chat(MODEL, MESSAGES)
    await client.close()
    assert caught.value.status_code == 401


async def test_closing_a_stream_stops_the_model(client: Any, simulator: Simulator) -> None:
    simulator.seconds_per_token = 0.005
    simulator.fault(Fault(endless=True))
    stream = await client.chat(MODEL, MESSAGES, stream=True)
    async for _ in stream:
        break
    await stream.aclose()
    (call,) = simulator.calls_to("/api/chat")
    await until(call.ended_event.is_set)
    assert call.outcome == "client_gone"


async def test_managing_models_is_blocked(client: Any) -> None:
    for asking in (client.pull(MODEL), client.delete(MODEL), client.copy(MODEL, "b"), client.create("b", from_=MODEL)):
        with pytest.raises(ollama.ResponseError, match="does not manage models") as caught:
            await asking
        assert caught.value.status_code == 403

"""`ChatOllama` and `OllamaEmbeddings` of langchain-ollama."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from simulator import Fault, Simulator
from tests.clients.conftest import API_KEY
from tests.kinds import until
from tests.service_process import ServiceProcess

langchain = pytest.importorskip("langchain_ollama", reason="needs tests/clients/requirements.txt (make test-clients)")

HEADERS = {"Authorization": f"Bearer {API_KEY}"}
MODEL = "llama3.1"
TOOL: dict[str, Any] = {
    "name": "injury_status",
    "description": "Look up an injury.",
    "parameters": {"type": "object", "properties": {"player": {"type": "string"}}, "required": ["player"]},
}
SCHEMA = TOOL["parameters"] | {"title": "Player", "description": "A player."}


@pytest.fixture
async def make_model(service: ServiceProcess) -> AsyncIterator[Callable[[str], Any]]:
    """Arguments for a chat model."""
    models = []

    def make(name: str) -> Any:
        models.append(langchain.ChatOllama(model=name, base_url=service.url, client_kwargs={"headers": HEADERS}))
        return models[-1]

    yield make
    for model in models:
        await model._async_client.close()  # noqa: SLF001


@pytest.fixture
def model(make_model: Callable[[str], Any]) -> Any:
    return make_model(MODEL)


async def test_complete_and_streamed_responses(model: Any, simulator: Simulator) -> None:
    answer = await model.ainvoke("Hi")
    assert answer.content
    assert answer.usage_metadata["output_tokens"] > 0
    assert "".join([chunk.content async for chunk in model.astream("Hi")])
    assert {call.outcome for call in simulator.calls_to("/api/chat")} == {"completed"}


async def test_tool_calls_and_results(model: Any) -> None:
    asking = model.bind_tools([TOOL])
    answer = await asking.ainvoke("Is he fit? Ask injury_status.")
    (call,) = answer.tool_calls
    assert call["name"] == "injury_status"
    result = {"role": "tool", "content": "fit", "tool_call_id": call["id"]}
    assert (
        await asking.ainvoke([{"role": "user", "content": "Is he fit? Ask injury_status."}, answer, result])
    ).content


async def test_structured_output(model: Any) -> None:
    found = await model.with_structured_output(SCHEMA, method="json_schema").ainvoke("Name a player.")
    assert list(found) == ["player"]


async def test_an_unknown_model(make_model: Callable[[str], Any]) -> None:
    with pytest.raises(Exception, match="llama9' not found"):
        await make_model("llama9").ainvoke("Hi")


async def test_a_failure_during_a_stream(model: Any, simulator: Simulator) -> None:
    simulator.fault(Fault(error_after=3, message="it broke"))
    with pytest.raises(Exception, match="it broke"):
        [chunk async for chunk in model.astream("Hi")]


async def test_closing_a_stream_stops_the_model(model: Any, simulator: Simulator) -> None:
    simulator.seconds_per_token = 0.005
    simulator.fault(Fault(endless=True))
    stream = model.astream("Hi")
    async for _ in stream:
        break
    await stream.aclose()
    (call,) = simulator.calls_to("/api/chat")
    await until(call.ended_event.is_set)
    assert call.outcome == "client_gone"


async def test_embeddings(service: ServiceProcess) -> None:
    embeddings = langchain.OllamaEmbeddings(
        model="nomic-embed-text", base_url=service.url, client_kwargs={"headers": HEADERS}
    )
    vectors = await embeddings.aembed_documents(["a", "b"])
    await embeddings._async_client.close()  # noqa: SLF001
    assert [len(vector) for vector in vectors] == [768, 768]

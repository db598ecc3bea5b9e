"""LangChain's ChatOpenAI and OpenAIEmbeddings."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from simulator import Simulator
from tests.clients.conftest import API_KEY
from tests.clients.scenarios import (
    BREAKS_IN_MIDSTREAM,
    EMBEDDING_MODEL,
    MODEL,
    NEVER_ENDS,
    QUESTION,
    SCHEMA,
    TOOL,
    UNKNOWN_MODEL,
    UPSTREAM,
)
from tests.service_process import ServiceProcess

openai = pytest.importorskip("openai", reason="needs tests/clients/requirements.txt (make test-clients)")
langchain = pytest.importorskip("langchain_openai", reason="needs tests/clients/requirements.txt (make test-clients)")


@pytest.fixture
async def access(service: ServiceProcess) -> AsyncIterator[dict[str, Any]]:
    """Base URL and key of the service, and an HTTP client, as LangChain does not close its own."""
    async with openai.DefaultAsyncHttpxClient() as client:
        yield {"base_url": f"{service.url}/v1", "api_key": API_KEY, "http_async_client": client}


def chat(access: dict[str, Any], **more: Any) -> Any:
    return langchain.ChatOpenAI(**(access | {"model": MODEL} | more))


async def test_chat(access: dict[str, Any]) -> None:
    answer = await chat(access).ainvoke(QUESTION)
    assert answer.content
    assert answer.usage_metadata["total_tokens"] > 0
    assert answer.response_metadata["model_name"] == MODEL


@pytest.mark.parametrize("stream_usage", [False, True])
async def test_stream(access: dict[str, Any], stream_usage: bool) -> None:
    whole = (await chat(access).ainvoke(QUESTION)).content
    chunks = [chunk async for chunk in chat(access, stream_usage=stream_usage).astream(QUESTION)]
    assert "".join(chunk.content for chunk in chunks) == whole
    assert any(chunk.usage_metadata for chunk in chunks) == stream_usage


async def test_tool_calls_and_results(access: dict[str, Any], simulator: Simulator) -> None:
    model = chat(access).bind_tools([TOOL])
    answer = await model.ainvoke(QUESTION)
    (call,) = answer.tool_calls
    assert call["name"] == "score"
    result = {"role": "tool", "tool_call_id": call["id"], "content": "18.5"}
    assert (await model.ainvoke([("user", QUESTION), answer, result])).content
    _, back, told = simulator.calls_to(UPSTREAM)[-1].body["messages"]
    assert back["tool_calls"][0]["function"]["arguments"] == call["args"]
    assert told["tool_name"] == "score"


async def test_structured_output(access: dict[str, Any]) -> None:
    model = chat(access).with_structured_output(SCHEMA | {"title": "points"}, method="json_schema")
    assert (await model.ainvoke(QUESTION)).keys() == {"player", "points"}


async def test_embeddings(access: dict[str, Any]) -> None:
    model = langchain.OpenAIEmbeddings(**access, model=EMBEDDING_MODEL, check_embedding_ctx_length=False)
    vectors = await model.aembed_documents(["one", "two"])
    assert len(vectors) == 2
    assert len(vectors[0]) == len(vectors[1]) > 1


async def test_an_unknown_model(access: dict[str, Any]) -> None:
    assert (await chat(access, model=UNKNOWN_MODEL).ainvoke(QUESTION)).response_metadata["model_name"] == "gpt-oss"
    strict = chat(access, model=UNKNOWN_MODEL, extra_body={"fallback": False})
    with pytest.raises(openai.NotFoundError):
        await strict.ainvoke(QUESTION)


async def test_a_failure_during_a_stream(access: dict[str, Any], simulator: Simulator) -> None:
    simulator.fault(BREAKS_IN_MIDSTREAM)
    seen = 0
    with pytest.raises(openai.APIError):
        async for _ in chat(access).astream(QUESTION):
            seen += 1
    assert seen


async def test_a_missing_key(access: dict[str, Any]) -> None:
    with pytest.raises(openai.AuthenticationError):
        await chat(access, api_key="wrong").ainvoke(QUESTION)


async def test_closing_a_stream_stops_the_model(access: dict[str, Any], simulator: Simulator) -> None:
    simulator.seconds_per_token = 0.01
    simulator.fault(NEVER_ENDS)
    stream = chat(access).astream(QUESTION)
    async for _ in stream:
        break
    await stream.aclose()
    (call,) = simulator.calls_to(UPSTREAM)
    await asyncio.wait_for(call.ended_event.wait(), 2)
    assert call.outcome == "client_gone"

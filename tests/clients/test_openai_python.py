"""The `openai` package of Python."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from simulator import Simulator
from tests.clients.conftest import API_KEY
from tests.clients.scenarios import (
    BREAKS_IN_MIDSTREAM,
    BROKEN,
    BUSY_ONCE,
    EMBEDDING_MODEL,
    MODEL,
    NEVER_ENDS,
    QUESTION,
    SCHEMA,
    SILENT_FIRST,
    THINKING_MODEL,
    TOOL,
    UNKNOWN_MODEL,
    UPSTREAM,
)
from tests.service_process import ROOT, ServiceProcess

openai = pytest.importorskip("openai", reason="needs tests/clients/requirements.txt (make test-clients)")

MESSAGES: list[Any] = [{"role": "user", "content": QUESTION}]


@pytest.fixture
async def client(service: ServiceProcess) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key=API_KEY, timeout=20) as client:
        yield client


async def test_models(client: Any) -> None:
    names = [model.id async for model in client.models.list()]
    assert MODEL in names
    assert (await client.models.retrieve(f"{MODEL}:latest")).id == MODEL
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve(UNKNOWN_MODEL)


async def test_chat(client: Any) -> None:
    answer = await client.chat.completions.create(model=MODEL, messages=MESSAGES, store=True, metadata={"a": "b"})
    (choice,) = answer.choices
    assert choice.message.content
    assert choice.finish_reason == "stop"
    assert answer.model == MODEL
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


@pytest.mark.parametrize("silent", [False, True])
async def test_stream(client: Any, simulator: Simulator, silent: bool) -> None:
    whole = await client.chat.completions.create(model=MODEL, messages=MESSAGES)
    if silent:
        simulator.fault(SILENT_FIRST)
    pieces, reasons = [], []
    async for chunk in await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True):
        pieces.append(chunk.choices[0].delta.content or "")
        reasons.append(chunk.choices[0].finish_reason)
    assert "".join(pieces) == whole.choices[0].message.content
    assert reasons[-1] == "stop"


async def test_stream_with_usage(client: Any) -> None:
    async with client.chat.completions.stream(
        model=MODEL, messages=MESSAGES, stream_options={"include_usage": True}
    ) as stream:
        answer = await stream.get_final_completion()
    assert answer.usage.total_tokens > 0
    assert answer.choices[0].message.content


async def test_reasoning(client: Any) -> None:
    answer = await client.chat.completions.create(
        model=THINKING_MODEL, messages=MESSAGES, reasoning_effort="low", max_completion_tokens=500
    )
    assert answer.choices[0].message.reasoning_content


@pytest.mark.parametrize("streamed", [False, True])
async def test_tool_calls_and_results(client: Any, simulator: Simulator, streamed: bool) -> None:
    asked = {"model": MODEL, "tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": False}
    if streamed:
        async with client.chat.completions.stream(messages=MESSAGES, **asked) as stream:
            answer = await stream.get_final_completion()
    else:
        answer = await client.chat.completions.create(messages=MESSAGES, **asked)
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert isinstance(json.loads(call.function.arguments)["week"], int)
    sent_back = choice.message.model_dump(exclude_none=True)
    result = {"role": "tool", "tool_call_id": call.id, "content": "18.5"}
    last = await client.chat.completions.create(messages=[*MESSAGES, sent_back, result], **asked)
    assert last.choices[0].message.content
    _, back, told = simulator.calls_to(UPSTREAM)[-1].body["messages"]
    assert back["tool_calls"][0]["function"]["arguments"] == json.loads(call.function.arguments)
    assert (told["tool_name"], told["content"]) == ("score", "18.5")


async def test_json_schema(client: Any, simulator: Simulator) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "points", "strict": True, "schema": SCHEMA}}
    answer = await client.chat.completions.create(model=MODEL, messages=MESSAGES, response_format=wanted)
    assert json.loads(answer.choices[0].message.content).keys() == {"player", "points"}
    assert simulator.calls_to(UPSTREAM)[-1].body["format"] == SCHEMA


async def test_embeddings(client: Any) -> None:
    packed = await client.embeddings.create(model=EMBEDDING_MODEL, input=["one", "two"])
    plain = await client.embeddings.create(model=EMBEDDING_MODEL, input=["one", "two"], encoding_format="float")
    assert len(packed.data) == len(plain.data) == 2
    for left, right in zip(packed.data, plain.data, strict=True):
        assert left.embedding == pytest.approx(right.embedding, abs=1e-6)
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        await client.embeddings.create(model=EMBEDDING_MODEL, input=[[1, 2, 3]])


async def test_an_unknown_model(client: Any, simulator: Simulator) -> None:
    answer = await client.chat.completions.create(model=UNKNOWN_MODEL, messages=MESSAGES)
    assert answer.model == "gpt-oss"
    for without in ({"extra_body": {"fallback": False}}, {"extra_headers": {"X-Fallback": "false"}}):
        with pytest.raises(openai.NotFoundError) as caught:
            await client.chat.completions.create(model=UNKNOWN_MODEL, messages=MESSAGES, **without)
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        await client.embeddings.create(model=UNKNOWN_MODEL, input="one")
    assert len(simulator.calls_to(UPSTREAM)) == 1


async def test_a_failure_during_a_stream(client: Any, simulator: Simulator) -> None:
    simulator.fault(BREAKS_IN_MIDSTREAM)
    seen = 0
    with pytest.raises(openai.APIError) as caught:
        async for _ in await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True):
            seen += 1
    assert seen
    assert caught.value.code == "ollama_error"


async def test_a_missing_key(service: ServiceProcess) -> None:
    async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key="wrong") as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert caught.value.code == "unauthorized"


async def test_requests_that_did_not_run_are_retried(client: Any, simulator: Simulator) -> None:
    simulator.fault(BUSY_ONCE)
    answer = await client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert answer.choices[0].message.content


async def test_requests_that_may_have_run_are_not_retried(client: Any, simulator: Simulator) -> None:
    simulator.fault(BROKEN)
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert len(simulator.calls_to(UPSTREAM)) == 1


async def test_responses_api(client: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="/v1/chat/completions"):
        await client.responses.create(model=MODEL, input=QUESTION)


async def test_closing_a_stream_stops_the_model(client: Any, simulator: Simulator) -> None:
    simulator.seconds_per_token = 0.01
    simulator.fault(NEVER_ENDS)
    stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await stream.close()
    (call,) = simulator.calls_to(UPSTREAM)
    await asyncio.wait_for(call.ended_event.wait(), 2)
    assert call.outcome == "client_gone"


async def test_the_readme_works_as_written(service: ServiceProcess) -> None:
    readme = (ROOT / "README.md").read_text()
    (code,) = re.findall(r"^```py\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    written = code.replace("http://127.0.0.1:8000", service.url).replace('"none"', f'"{API_KEY}"')
    await asyncio.to_thread(exec, written, names)
    names["client"].close()
    assert names["answer"].choices[0].message.content

"""The in-process API, as other Python code uses it."""

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import assert_type

import pytest
from pydantic import SecretStr

from services.ollama.errors import (
    InvalidRequestError,
    ModelNotFoundError,
    OllamaResponseError,
    OllamaUnavailableError,
)
from services.ollama_service import OllamaService, ollama_service
from simulator import Fault, Simulator
from tests.conftest import MakeSettings
from tests.kinds import until
from tests.services.conftest import MESSAGES

pytestmark = pytest.mark.every_loop


async def test_the_constructor_does_no_io(make_settings: MakeSettings, simulator: Simulator) -> None:
    OllamaService(make_settings())
    assert isinstance(ollama_service, OllamaService)
    await asyncio.sleep(0)
    assert (simulator.calls, simulator.open_connections) == ([], 0)


async def test_generate_returns_text(service: OllamaService, simulator: Simulator) -> None:
    text = await service.generate("llama3.1", "Hi", system="Be brief.", temperature=0.1, max_tokens=5)
    assert_type(text, str)
    assert text.startswith("[simulated llama3.1]")
    (seen,) = simulator.calls_to("/api/generate")
    assert (seen.body["prompt"], seen.body["system"], seen.body["stream"]) == ("Hi", "Be brief.", False)
    assert (seen.body["options"]["temperature"], seen.body["options"]["num_predict"]) == (0.1, 5)


async def test_unset_parameters_come_from_the_settings(service: OllamaService, simulator: Simulator) -> None:
    await service.generate(None, "Hi")
    (seen,) = simulator.calls_to("/api/generate")
    assert "system" not in seen.body
    assert seen.body["model"] == "gpt-oss:latest"
    assert (seen.body["options"]["temperature"], seen.body["options"]["num_predict"]) == (0.7, 4096)


async def test_chat_returns_text(service: OllamaService, simulator: Simulator) -> None:
    text = await service.chat("llama3.1", MESSAGES, temperature=0.0)
    assert_type(text, str)
    assert text.startswith("[simulated llama3.1]")
    (seen,) = simulator.calls_to("/api/chat")
    assert (seen.body["messages"], seen.body["options"]["temperature"]) == (MESSAGES, 0.0)


async def test_a_stream_yields_only_text(service: OllamaService, simulator: Simulator) -> None:
    generated = await service.generate("gpt-oss", "Hi", stream=True)
    chatted = await service.chat("gpt-oss", MESSAGES, stream=True)
    assert_type(generated, AsyncGenerator[str])
    assert_type(chatted, AsyncGenerator[str])
    assert simulator.calls == []
    for stream in (generated, chatted):
        pieces = [piece async for piece in stream]
        assert len(pieces) == simulator.answer_tokens
        assert "".join(pieces).startswith("[simulated gpt-oss]")


@pytest.mark.parametrize("taken", [0, 1, 3])
async def test_a_stream_that_is_closed_early_closes_its_connection(
    service: OllamaService, simulator: Simulator, taken: int
) -> None:
    simulator.fault(Fault(endless=True))
    async with aclosing(await service.generate("llama3.1", "Hi", stream=True)) as stream:
        for _ in range(taken):
            assert await anext(stream)
    if taken == 0:
        assert simulator.calls_to("/api/generate") == []
        return
    (seen,) = simulator.calls_to("/api/generate")
    await until(seen.ended_event.is_set)
    assert seen.outcome == "client_gone"
    assert await service.queue_stats() == (0, 0)


async def test_a_stream_read_to_its_end_returns_its_connection_to_the_pool(
    service: OllamaService, simulator: Simulator
) -> None:
    for _ in range(3):
        assert [piece async for piece in await service.generate("llama3.1", "Hi", stream=True)]
    assert len({seen.connection for seen in simulator.calls_to("/api/generate")}) == 1


async def test_a_stream_that_breaks_raises(service: OllamaService, simulator: Simulator) -> None:
    simulator.fault(Fault(reset_after=3))
    stream = await service.chat("llama3.1", MESSAGES, stream=True)
    assert [await anext(stream) for _ in range(3)]
    with pytest.raises(OllamaResponseError):
        await anext(stream)


async def test_embeddings_are_one_vector(service: OllamaService, simulator: Simulator) -> None:
    vector = await service.generate_embeddings("Hi")
    assert len(vector) == 768
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-5)
    simulator.install("bge-m3", width=32)
    assert len(await service.generate_embeddings("Hi", model="bge-m3")) == 32
    with pytest.raises(ModelNotFoundError) as caught:
        await service.generate_embeddings("Hi", model="unknown")
    assert "bge-m3" in caught.value.available


async def test_models(service: OllamaService, simulator: Simulator) -> None:
    listed = await service.list_models()
    assert [model["name"] for model in listed] == ["nomic-embed-text", "llama3.1", "gpt-oss"]
    simulator.install("qwen3")
    assert await service.list_models() == listed
    assert len(await service.list_models(force_refresh=True)) == 4


@pytest.mark.parametrize(
    ("name", "available"),
    [("gpt-oss", True), ("GPT-OSS:latest", True), ("gpt-oss:20b", False), ("no such name!", False), ("", False)],
)
async def test_a_model_is_available_under_its_names(service: OllamaService, name: str, available: bool) -> None:
    assert await service.is_model_available(name) is available


async def test_an_unknown_model_falls_back(service: OllamaService) -> None:
    assert (await service.generate("unknown", "Hi")).startswith("[simulated gpt-oss]")
    assert (await service.chat("unknown", MESSAGES)).startswith("[simulated gpt-oss]")


async def test_an_invalid_name_is_an_invalid_request(service: OllamaService, simulator: Simulator) -> None:
    for call in (service.generate("no such name!", "Hi"), service.generate_embeddings("Hi", model="no such name!")):
        with pytest.raises(InvalidRequestError):
            await call
    assert simulator.calls == []


async def test_the_health_check_never_raises(service: OllamaService, simulator: Simulator) -> None:
    assert await service.health_check() is True
    for fault in (
        Fault(path="/api/version", status=500, times=None),
        Fault(path="/api/version", body=b"<html>", times=None),
        Fault(path="/api/version", garbage_status_line=True, times=None),
        Fault(path="/api/version", reset_after=0, times=None),
    ):
        simulator.fault(fault)
        assert await service.health_check() is False
        simulator.clear_faults()
    await simulator.stop()
    assert await service.health_check() is False
    await simulator.start()
    assert await service.health_check() is True


async def test_an_unreachable_server_raises(make_settings: MakeSettings, simulator: Simulator) -> None:
    await simulator.stop()
    service = OllamaService(make_settings(ollama_retry_attempts=1))
    for call in (service.list_models(), service.is_model_available("gpt-oss"), service.generate("gpt-oss", "Hi")):
        with pytest.raises(OllamaUnavailableError):
            await call
    await service.disconnect()


async def test_connect_and_disconnect_may_be_repeated(service: OllamaService, simulator: Simulator) -> None:
    await service.disconnect()
    for _ in range(2):
        await service.connect()
        await service.connect()
        assert await service.generate("llama3.1", "Hi")
        await service.disconnect()
        await service.disconnect()
        await until(lambda: simulator.open_connections == 0)
    assert await service.generate("llama3.1", "Hi")


async def test_errors_contain_no_secret(make_settings: MakeSettings, simulator: Simulator) -> None:
    service = OllamaService(make_settings(ollama_api_key=SecretStr("hush"), ollama_retry_attempts=1))
    await simulator.stop()
    with pytest.raises(OllamaUnavailableError) as caught:
        await service.generate("gpt-oss", "Hi")
    assert "hush" not in f"{caught.value!r} {caught.value}"
    assert "127.0.0.1" not in str(caught.value)
    await service.disconnect()


async def test_the_returned_list_is_a_copy(make_settings: MakeSettings) -> None:
    service = OllamaService(make_settings())
    listed = await service.list_models()
    listed[0]["details"].clear()
    listed.clear()
    assert (await service.list_models())[0]["details"]
    await service.disconnect()

"""The route handler that README shows."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from simulator import Fault, Simulator
from tests.clients.nextjs.next_app import NextApp, run_next
from tests.service_process import ServiceProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

MESSAGES = [{"role": "user", "content": "hello"}]
LLAMA: dict[str, Any] = {"model": "llama3.1", "messages": MESSAGES}
SOON = 3.0


@pytest_asyncio.fixture(loop_scope="session")
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_it_forwards_the_stream_and_its_headers(
    app: NextApp, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    async with client.post(f"{app.url}/api/chat", json=LLAMA, headers={"Accept-Encoding": "gzip"}) as response:
        text = await response.text()
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert response.headers["X-Model"] == "llama3.1"
    assert response.headers["X-Model-Fallback"] == "false"
    assert response.headers["X-Request-ID"] in text
    assert "Content-Encoding" not in response.headers
    assert text.startswith("event: start\n")
    assert "event: done\n" in text
    (call,) = simulator.calls_to("/api/chat")
    assert call.body["messages"] == MESSAGES


async def test_chunks_arrive_one_by_one(app: NextApp, simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.seconds_per_token = 0.03
    async with client.post(f"{app.url}/api/chat", json=LLAMA) as response:
        pieces = [piece async for piece in response.content.iter_any()]
    assert len(pieces) >= 5


async def test_an_error_of_the_service_is_forwarded_unchanged(
    app: NextApp, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.fault(Fault(status=503, message="the queue is full", times=None))
    async with client.post(f"{app.url}/api/chat", json=LLAMA) as response:
        document = await response.json(content_type="application/problem+json")
    assert response.status == document["status"] == 503
    assert document["code"] == "ollama_busy"
    assert "Retry-After" in response.headers
    assert response.headers["X-Request-ID"] == document["request_id"]


async def test_a_missing_model_is_named(app: NextApp, simulator: Simulator, client: aiohttp.ClientSession) -> None:
    body = {"model": "mistral", "messages": MESSAGES, "fallback": False}
    async with client.post(f"{app.url}/api/chat", json=body) as response:
        document = await response.json(content_type="application/problem+json")
    assert response.status == 404
    assert "mistral" in document["detail"]
    assert simulator.calls_to("/api/chat") == []


@pytest.mark.parametrize("body", ["", "{", "null", "12"])
async def test_a_body_without_a_json_object_is_rejected_with_a_message(
    body: str, app: NextApp, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    async with client.post(f"{app.url}/api/chat", data=body) as response:
        document = await response.json(content_type="application/problem+json")
    assert response.status == document["status"] == 422
    assert document["detail"] == "The body must be a JSON object."
    assert simulator.calls == []
    assert app.log == ""


async def test_an_array_is_rejected(app: NextApp, client: aiohttp.ClientSession) -> None:
    async with client.post(f"{app.url}/api/chat", json=[LLAMA]) as response:
        document = await response.json(content_type="application/problem+json")
    assert response.status == 422
    assert document["code"] == "invalid_request"


async def test_an_unreachable_service_is_a_problem_document(
    app_without_service: NextApp, client: aiohttp.ClientSession
) -> None:
    async with client.post(f"{app_without_service.url}/api/chat", json=LLAMA) as response:
        document = await response.json(content_type="application/problem+json")
    assert response.status == document["status"] == 502
    assert document["detail"] == "The language model service cannot be reached."
    assert document["code"] == "service_unreachable"
    assert app_without_service.log == ""


async def test_a_wrong_key_is_reported(
    service: ServiceProcess,
    built: None,  # noqa: ARG001 - it has to be built first
    client: aiohttp.ClientSession,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with (
        run_next(service.url, tmp_path_factory.mktemp("next"), "wrong") as stranger,
        client.post(f"{stranger.url}/api/chat", json=LLAMA) as response,
    ):
        document = await response.json(content_type="application/problem+json")
    assert response.status == 401
    assert document["code"] == "unauthorized"


async def test_a_disconnect_during_the_stream_stops_the_model_and_logs_nothing(
    app: NextApp, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.seconds_per_token = 0.001
    simulator.fault(Fault(endless=True))
    async with client.post(f"{app.url}/api/chat", json=LLAMA) as response:
        await response.content.readuntil(b"event: token")
        response.close()
    call = await simulator.received("/api/chat")
    await asyncio.wait_for(call.ended_event.wait(), SOON)
    assert call.outcome == "client_gone"
    assert app.log == ""


async def test_a_disconnect_before_the_headers_stops_the_model_and_logs_nothing(
    app: NextApp, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.fault(Fault(hang=True))
    asking = asyncio.create_task(client.post(f"{app.url}/api/chat", json=LLAMA).__aenter__())
    call = await asyncio.wait_for(simulator.received("/api/chat"), SOON)
    asking.cancel()
    await asyncio.wait_for(call.ended_event.wait(), SOON)
    assert call.outcome == "client_gone"
    # It would log only after the request has ended, so wait for the response to another request.
    async with client.get(f"{app.url}/api/models") as response:
        assert response.status == 200
    assert app.log == ""


async def test_the_model_list_is_forwarded(app: NextApp, client: aiohttp.ClientSession) -> None:
    async with client.get(f"{app.url}/api/models") as response:
        document = await response.json()
    assert {model["name"] for model in document["models"]} >= {"gpt-oss", "llama3.1"}


async def test_an_unreachable_service_is_reported_for_the_models_too(
    app_without_service: NextApp, client: aiohttp.ClientSession
) -> None:
    async with client.get(f"{app_without_service.url}/api/models") as response:
        document = await response.json()
    assert response.status == 502
    assert document["detail"] == "The language model service cannot be reached."

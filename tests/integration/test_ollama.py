"""Behaviour of a real Ollama that the simulator cannot show: slots, crashes, failed loads."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import aiohttp
import pytest

from main import create_app
from services.ollama_service import OllamaService
from tests.integration.ollama_server import OllamaServer
from tests.integration.streams import NDJSON, SSE, TEXT, events
from tests.integration.tiny_models import UNLOADABLE
from tests.integration.upstreams import ActualOllama, Api, settings_for
from tests.services.ollama.types import test_grammar_harm
from tests.serving import serve

MODEL = "llama3.1"
SHORT = {"prompt": "Say something.", "model": MODEL, "max_tokens": 3}
SLOW_MODEL = "gpt-oss"
SLOW_SHORT = SHORT | {"model": SLOW_MODEL}
ENDLESS = {
    "prompt": "Write the numbers from 1 to 100000 in words.",
    "model": SLOW_MODEL,
    "max_tokens": 40_000,
    "stream": True,
}
# Far less than an endless response takes, and far more than a short one.
AT_ONCE_SECONDS = 6.0
TRIALS = 3


@pytest.fixture
def upstream(ollama: ActualOllama) -> ActualOllama:
    """The real Ollama only."""
    return ollama


@pytest.fixture
async def one_place(client: aiohttp.ClientSession, ollama: ActualOllama) -> AsyncIterator[Api]:
    """The service with one slot, as the model has one: a slot that is not released blocks the next request."""
    settings = settings_for(ollama, ollama_max_connections=1, ollama_queue_timeout=60)
    async with serve(create_app(settings)) as url:
        api = Api(client, url)
        await api.answer("/api/ollama/generate", SLOW_SHORT)
        yield api


# Disconnects


async def leaving_frees_the_slot(
    direct: Api, leave: Callable[[], Awaitable[object]], ask: Callable[[], Awaitable[object]]
) -> None:
    """Check that the next request gets a response soon after a disconnect.

    Ollama itself sometimes loses the slot, if the client disconnects between two tokens
    (https://github.com/ollama/ollama/issues/17131). So the model is unloaded and the test repeated: a service that does
    not stop the generation fails each time.
    """
    for _ in range(TRIALS):
        await leave()
        try:
            async with asyncio.timeout(AT_ONCE_SECONDS):
                await ask()
                return
        except TimeoutError:
            await direct.answer("/api/generate", {"model": SLOW_MODEL, "keep_alive": 0})
    pytest.fail("the slot was not freed")


@pytest.mark.parametrize("form", [SSE, NDJSON, TEXT])
async def test_a_disconnect_during_a_stream_frees_the_slot(one_place: Api, direct: Api, form: str) -> None:
    async def leave() -> None:
        async with one_place.post("/api/ollama/generate", ENDLESS, form) as response:
            await response.content.readany()
            await response.content.readany()
            response.close()

    await leaving_frees_the_slot(direct, leave, lambda: one_place.answer("/api/ollama/generate", SLOW_SHORT))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_disconnect_before_the_response_frees_the_slot(one_place: Api, direct: Api, stream: bool) -> None:
    body = ENDLESS | {"prompt": "A prompt that takes a while to read. " * 4, "stream": stream}

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.15), one_place.post("/api/ollama/generate", body) as response:
                await response.read()

    await leaving_frees_the_slot(direct, leave, lambda: one_place.answer("/api/ollama/generate", SLOW_SHORT))


async def test_a_disconnect_in_the_queue_does_not_block_the_others(one_place: Api, direct: Api) -> None:
    whole = ENDLESS | {"stream": False}

    async def leave() -> None:
        running = asyncio.create_task(one_place.answer("/api/ollama/generate", whole))
        await _until_load_is(one_place, running=1, queued=0)
        waiting = asyncio.create_task(one_place.answer("/api/ollama/generate", whole))
        await _until_load_is(one_place, running=1, queued=1)
        for task in (waiting, running):
            task.cancel()
        await asyncio.gather(waiting, running, return_exceptions=True)

    await leaving_frees_the_slot(direct, leave, lambda: one_place.answer("/api/ollama/generate", SLOW_SHORT))


async def test_a_stream_closed_in_process_frees_the_slot(ollama: ActualOllama, direct: Api) -> None:
    service = OllamaService(settings_for(ollama))

    async def leave() -> None:
        pieces = await service.generate(SLOW_MODEL, "Go on.", max_tokens=40_000, stream=True)
        async with aclosing(pieces):
            assert await anext(pieces)

    try:
        await leaving_frees_the_slot(
            direct, leave, lambda: service.generate(SLOW_MODEL, "Say something.", max_tokens=3)
        )
    finally:
        await service.disconnect()


async def _until_load_is(api: Api, *, running: int, queued: int) -> None:
    async with asyncio.timeout(AT_ONCE_SECONDS):
        while True:
            async with api.get("/health") as response:
                ollama = (await response.json())["ollama"]
            if (ollama["running"], ollama["queued"]) == (running, queued):
                return
            await asyncio.sleep(0.01)


# A server that crashes


async def test_the_service_recovers_when_a_killed_server_restarts(
    client: aiohttp.ClientSession, mortal_ollama: OllamaServer
) -> None:
    settings = settings_for(mortal_ollama, ollama_retry_backoff=0.05, ollama_down_cooldown=0.2, ollama_models_ttl=0.01)
    async with serve(create_app(settings)) as url:
        api = Api(client, url)
        await api.answer("/api/ollama/generate", SHORT)

        async with api.post("/api/ollama/generate", ENDLESS, SSE) as response:
            stream = events(response)
            assert [(await anext(stream))["type"] for _ in range(3)] == ["start", "token", "token"]
            mortal_ollama.kill()
            *_, last = [event async for event in stream]
        assert (last["type"], last["code"]) == ("error", "ollama_error")

        for _ in range(2):
            async with api.post("/api/ollama/generate", SHORT) as response:
                document = await response.json(content_type="application/problem+json")
                assert (response.status, document["code"]) == (503, "ollama_unavailable")
                assert int(response.headers["Retry-After"]) >= 1
            async with api.get("/health") as response:
                assert response.status == 503
                assert (await response.json())["services"] == {"ollama": "down"}
        async with api.get("/api/ollama/models") as response:
            listed = await response.json()
            assert (response.status, listed["stale"]) == (200, True)
        async with api.get("/api/ollama/models?force_refresh=true") as response:
            assert response.status == 503

        await mortal_ollama.start()
        async with api.get("/health") as response:
            assert response.status == 200
        answer = await api.answer("/api/ollama/generate", SHORT)
        assert answer["usage"]["completion_tokens"] == 3


async def test_plain_text_is_cut_when_the_server_dies(
    client: aiohttp.ClientSession, mortal_ollama: OllamaServer
) -> None:
    async with (
        serve(create_app(settings_for(mortal_ollama))) as url,
        Api(client, url).post("/api/ollama/generate", ENDLESS, TEXT) as response,
    ):
        received = await response.content.readany()
        mortal_ollama.kill()
        with pytest.raises(aiohttp.ClientPayloadError):
            received += await response.content.read()
    assert b"error" not in received


# Schemas that crash a server


async def test_accepted_schemas_do_not_crash_the_server_or_its_runner(
    client: aiohttp.ClientSession, mortal_ollama: OllamaServer
) -> None:
    async with serve(create_app(settings_for(mortal_ollama))) as url:
        api = Api(client, url)
        await api.answer("/api/ollama/generate", SHORT)
        for pattern in test_grammar_harm.TAKEN + test_grammar_harm.ENDS_RUNNER + test_grammar_harm.ENDS_SERVER:
            body = SHORT | {"format": {"type": "string", "pattern": pattern}}
            async with api.post("/api/ollama/generate", body) as response:
                answer = await response.json(content_type=None)
            assert response.status in {200, 400, 422}, (pattern, answer)
            assert pattern not in test_grammar_harm.TAKEN or "does not support" not in answer.get("detail", ""), pattern
        for schema, harm in test_grammar_harm.SCHEMAS:
            async with api.post("/api/ollama/generate", SHORT | {"format": schema}) as response:
                answer = await response.json(content_type=None)
            assert "unexpectedly stopped" not in str(answer), schema
            assert harm is not None or "does not support" not in answer.get("detail", ""), schema
        await api.answer("/api/ollama/generate", SHORT)


# A model that fails to load


async def test_the_default_model_replaces_one_that_fails_to_load(service: Api, ollama: ActualOllama) -> None:
    _skip_unless_ours(ollama)
    answer = await service.answer("/api/ollama/generate", SHORT | {"model": UNLOADABLE.name})
    assert (answer["model"], answer["requested_model"], answer["fallback"]) == ("gpt-oss", UNLOADABLE.name, True)
    assert answer["warnings"] == ["fallback_model"]
    async with service.post("/api/ollama/chat", _chat(stream=True), SSE) as response:
        start, *_, done = [event async for event in events(response)]
    assert (start["model"], start["fallback"]) == ("gpt-oss", True)
    assert done["type"] == "done"


async def test_without_fallback_a_failed_load_is_an_error(service: Api, ollama: ActualOllama) -> None:
    _skip_unless_ours(ollama)
    for accept in (None, SSE, NDJSON, TEXT):
        body = _chat(stream=accept is not None) | {"fallback": False}
        async with service.post("/api/ollama/chat", body, accept) as response:
            document = await response.json(content_type="application/problem+json")
            assert (response.status, document["code"]) == (502, "ollama_error")
        # Ollama's message usually contains a path.
        assert "/models/" not in document["detail"]
        assert "sha256" not in document["detail"]


def _chat(*, stream: bool) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Say something."}]
    return {"messages": messages, "model": UNLOADABLE.name, "max_tokens": 3, "stream": stream}


def _skip_unless_ours(ollama: ActualOllama) -> None:
    if not ollama.ours:
        pytest.skip("a model that does not load is not put on somebody else's server")


# In process


async def test_the_in_process_api_works_with_ollama(ollama: ActualOllama) -> None:
    service = OllamaService(settings_for(ollama, max_tokens=8))
    try:
        assert await service.health_check() is True
        assert MODEL in [model["name"] for model in await service.list_models()]
        assert await service.is_model_available("LLAMA3.1:latest") is True
        assert await service.is_model_available("llama3.1:8b") is False
        assert await service.generate(MODEL, "Say something.", system="Be brief.", max_tokens=3)
        assert await service.chat(MODEL, [{"role": "user", "content": "One word, please."}])
        assert len(await service.generate_embeddings("a league")) == 768
        pieces = [piece async for piece in await service.generate(MODEL, "Go on.", max_tokens=9, stream=True)]
        assert len(pieces) > 1
    finally:
        await service.disconnect()

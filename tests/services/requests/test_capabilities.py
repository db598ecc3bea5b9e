"""Requests that a model cannot serve are rejected before they are queued, with a model that can."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.api import CHAT, EMBEDDINGS, GENERATE, PIXEL, get, post, problem_in, succeed
from tests.conftest import MakeSettings
from tests.kinds import KINDS, load_is
from tests.openai_api import CHAT as OPENAI_CHAT
from tests.openai_api import TOOL, ask, error_in
from tests.serving import serve

TOOLS = {"tools": [{"type": "function", "function": {"name": "score"}}]}
SEEN = {"messages": [{"role": "user", "content": "What is this?", "images": [PIXEL]}]}
OPENAI_SEEN = {
    "messages": [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}],
        }
    ]
}
NATIVE_CASES = [
    ("/api/chat", CHAT | TOOLS, "tools"),
    ("/api/chat", CHAT | {"think": True}, "thinking"),
    ("/api/generate", GENERATE | {"think": True}, "thinking"),
    ("/api/generate", GENERATE | {"images": [PIXEL]}, "vision"),
    ("/api/chat", CHAT | SEEN, "vision"),
    ("/api/embed", {"input": "a trade"}, "embedding"),
    ("/api/embeddings", {"prompt": "a trade"}, "embedding"),
]
WRITER = ["completion"]
ABLE = {"tools": "can-tools", "thinking": "can-think", "vision": "can-see", "embedding": "can-embed"}
CASES = [
    ("chat", CHAT | TOOLS, "tools", "tools"),
    ("generate", GENERATE | {"think": True}, "think", "thinking"),
    ("chat", CHAT | {"think": True}, "think", "thinking"),
    ("generate", GENERATE | {"images": [PIXEL]}, "images", "vision"),
    ("chat", CHAT | SEEN, "messages", "vision"),
    ("embeddings", EMBEDDINGS, "model", "embedding"),
]
OPENAI_CASES = [
    ("chat/completions", OPENAI_CHAT | {"tools": [TOOL]}, "tools", "tools"),
    ("chat/completions", OPENAI_CHAT | {"reasoning_effort": "high"}, "reasoning_effort", "thinking"),
    ("chat/completions", OPENAI_CHAT | OPENAI_SEEN, "messages", "vision"),
    ("embeddings", {"input": "a"}, "model", "embedding"),
]


@pytest.fixture(autouse=True)
def _models(simulator: Simulator) -> None:
    simulator.install("writer", WRITER)
    for capability, name in ABLE.items():
        simulator.install(name, [capability] if capability == "embedding" else [*WRITER, capability])
    for name in ("gpt-oss", "llama3.1", "nomic-embed-text"):
        simulator.remove(name)


def generations(simulator: Simulator) -> list[str]:
    paths = {"/api/generate", "/api/chat", "/api/embed", "/api/embeddings"}
    return [call.path for call in simulator.calls if call.path in paths]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("endpoint", "body", "field", "capability"), CASES)
async def test_a_missing_capability_is_rejected_with_a_model_that_has_it(
    client: aiohttp.ClientSession,
    url: str,
    simulator: Simulator,
    endpoint: str,
    body: dict[str, Any],
    field: str,
    capability: str,
    stream: bool,
) -> None:
    wanted = body | {"model": "writer"} | ({"stream": stream} if endpoint != "embeddings" else {})
    document = problem_in(await post(client, url, endpoint, wanted), "unsupported_by_model")
    assert f"it does not support {capability}; {ABLE[capability]!r} does." in document["detail"]
    assert [line["field"] for line in document["errors"]] == [field]
    assert document["retryable"] is False
    assert generations(simulator) == []
    await succeed(client, url, endpoint, body | {"model": ABLE[capability]})


@pytest.mark.parametrize(("endpoint", "body", "param", "capability"), OPENAI_CASES)
async def test_a_missing_capability_is_rejected_under_v1(
    client: aiohttp.ClientSession,
    url: str,
    simulator: Simulator,
    endpoint: str,
    body: dict[str, Any],
    param: str,
    capability: str,
) -> None:
    message = error_in(await ask(client, url, endpoint, body | {"model": "writer"}), "unsupported_by_model", param)
    assert f"{ABLE[capability]!r} does" in message
    assert generations(simulator) == []


@pytest.mark.parametrize(("path", "body", "capability"), NATIVE_CASES)
async def test_a_missing_capability_is_rejected_under_ollamas_own_api(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, path: str, body: dict[str, Any], capability: str
) -> None:
    await get(client, f"{url}/api/ollama/models")
    async with client.post(url + path, json=body | {"model": "writer"}) as response:
        assert response.status == 400
        message = (await response.json())["error"]
    assert f"does not support {capability}; {ABLE[capability]!r} does" in message
    assert generations(simulator) == []
    async with client.post(url + path, json=body | {"model": ABLE[capability]}) as response:
        assert response.status == 200
    assert generations(simulator) == [path]


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": 'about "tools" and "images"'}]},
        {"tools": [], "think": False, "messages": [{"role": "user", "content": "Hi", "images": []}]},
        {"tools": None, "messages": [{"role": "user", "content": "Hi", "images": None}]},
    ],
)
async def test_under_ollamas_own_api_a_request_that_requires_nothing_is_sent(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, fields: dict[str, Any]
) -> None:
    await get(client, f"{url}/api/ollama/models")
    async with client.post(f"{url}/api/chat", json=fields | {"model": "writer"}) as response:
        assert response.status == 200
    assert simulator.calls_to("/api/chat")[0].body == fields | {"model": "writer"}
    assert simulator.calls_to("/api/show") == []


async def test_under_ollamas_own_api_an_embedding_model_can_be_unloaded_but_does_not_generate(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    await get(client, f"{url}/api/ollama/models")
    async with client.post(f"{url}/api/chat", json=CHAT | {"model": "can-embed"}) as response:
        assert "does not support completion" in (await response.json())["error"]
    assert generations(simulator) == []
    await client.post(f"{url}/api/generate", json={"model": "can-embed", "keep_alive": 0})
    assert generations(simulator) == ["/api/generate"]


async def test_an_embedding_model_does_not_generate(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    for endpoint, body in (("generate", GENERATE), ("chat", CHAT)):
        answer = await post(client, url, endpoint, body | {"model": "can-embed"})
        assert "cannot write text" in problem_in(answer, "unsupported_by_model")["detail"]
    assert generations(simulator) == []


async def test_no_other_model_is_named_if_none_has_the_capability(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.remove("can-see")
    answer = await post(client, url, "chat", CHAT | SEEN | {"model": "writer"})
    assert "no installed model is known to" in problem_in(answer, "unsupported_by_model")["detail"]


async def test_a_configured_model_is_named_first(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator
) -> None:
    simulator.install("chosen", [*WRITER, "tools"])
    simulator.install("newest", [*WRITER, "tools"])
    async with serve(create_app(make_settings(quality_model="chosen"))) as url:
        answer = await post(client, url, "chat", CHAT | TOOLS | {"model": "writer"})
    assert "'chosen' does" in problem_in(answer, "unsupported_by_model")["detail"]


async def test_the_error_of_a_fallback_names_the_requested_model(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator
) -> None:
    async with serve(create_app(make_settings(default_model="writer"))) as url:
        answer = await post(client, url, "chat", CHAT | TOOLS | {"model": "gone"})
    detail = problem_in(answer, "unsupported_by_model")["detail"]
    assert "'writer', the fallback for 'gone', cannot call tools" in detail
    assert generations(simulator) == []


async def test_a_rejected_request_does_not_wait_in_the_queue(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator
) -> None:
    simulator.fault(Fault(path="/api/generate", hang=True))
    settings = make_settings(ollama_max_connections=1, ollama_queue_timeout=60)
    async with serve(create_app(settings)) as url:
        running = asyncio.create_task(post(client, url, "generate", GENERATE | {"model": "writer"}))
        await load_is(client, url, running=1)
        async with asyncio.timeout(5):
            problem_in(await post(client, url, "chat", CHAT | TOOLS | {"model": "writer"}), "unsupported_by_model")
        running.cancel()


# Model lists without capabilities: Ollama before 0.30


def old_list(simulator: Simulator, *names: str) -> None:
    """Respond with model lists as Ollama before 0.30 does."""
    models = [{"name": f"{name}:latest", "digest": name, "details": {"family": "llama"}} for name in names]
    body = json.dumps({"models": models}).encode()
    simulator.fault(Fault(path="/api/tags", body=body, content_type="application/json", times=None))


async def test_show_is_requested_once_per_model(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator
) -> None:
    old_list(simulator, "writer", "can-tools")
    async with serve(create_app(make_settings(default_model="writer"))) as url:
        await succeed(client, url, "chat", CHAT | TOOLS | {"model": "can-tools"})
        for _ in range(2):
            answer = await post(client, url, "chat", CHAT | TOOLS | {"model": "writer"})
            assert "'can-tools' does" in problem_in(answer, "unsupported_by_model")["detail"]
        await succeed(client, url, "chat", CHAT | {"model": "writer"})
    assert [call.body["model"] for call in simulator.calls_to("/api/show")] == ["can-tools:latest", "writer:latest"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(path="/api/show", status=500, times=None),
        Fault(path="/api/show", body=b'{"details": {}}', content_type="application/json", times=None),
        Fault(path="/api/show", body=b"[]", content_type="application/json", times=None),
    ],
    ids=["fails", "does not tell", "malformed"],
)
async def test_a_request_is_sent_if_capabilities_are_unknown(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator, fault: Fault
) -> None:
    old_list(simulator, "writer")
    simulator.fault(fault)
    async with serve(create_app(make_settings(default_model="writer"))) as url:
        for _ in range(3):
            answer = await post(client, url, "chat", CHAT | TOOLS | {"model": "writer"})
            assert "does not support tools" in problem_in(answer, "rejected_by_ollama")["detail"]
    assert len(simulator.calls_to("/api/chat")) == 3
    assert len(simulator.calls_to("/api/show")) == 1


async def test_before_0_30_text_models_may_embed(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator
) -> None:
    old_list(simulator, "writer")
    async with serve(create_app(make_settings())) as url:
        await post(client, url, "embeddings", EMBEDDINGS | {"model": "writer"})
    assert len(simulator.calls_to("/api/embed")) == 1


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[-1]], ids=lambda kind: kind.name)
async def test_show_is_not_requested_if_the_list_has_capabilities(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator, kind: Any
) -> None:
    simulator.install("llama3.1")
    simulator.install("nomic-embed-text")
    async with serve(create_app(make_settings())) as url, kind.ask(client, url) as response:
        assert response.status == 200
    assert simulator.calls_to("/api/show") == []


async def test_under_ollamas_own_api_show_is_requested_only_if_it_matters(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator
) -> None:
    """Before 0.30, Ollama responds to images as if they were not there."""
    old_list(simulator, "writer", "can-see")
    async with serve(create_app(make_settings())) as url:
        async with client.post(f"{url}/api/chat", json=CHAT | {"model": "writer"}) as response:
            assert response.status == 200
        assert simulator.calls_to("/api/show") == []
        async with client.post(f"{url}/api/chat", json=CHAT | SEEN | {"model": "writer"}) as response:
            assert (response.status, "'can-see' does" in await response.text()) == (400, True)
    assert len(simulator.calls_to("/api/show")) == 2

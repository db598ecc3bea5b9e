"""Prompts that are longer than the context are reported in every response format."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from main import create_app
from services.completion import CompletionRequest
from services.ollama_service import OllamaService
from simulator import Fault, Simulator
from tests.api import CHAT, GENERATE, post, problem_in, succeed
from tests.conftest import MakeSettings
from tests.kinds import NDJSON, PLAIN, see
from tests.openai_api import ask
from tests.serving import serve
from tests.surfaces import CONTEXT, LONG_CHAT, LONG_PROMPT, LONG_TEXT, SMALL, SURFACES, TURNS, Surface, surfaces


@surfaces
async def test_a_truncated_prompt_is_reported(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, surface: Surface
) -> None:
    report = await surface.tell(client, url, surface.long_body)
    assert (report.status, report.header) == (200, "true")
    if surface.accept != PLAIN:
        assert (report.warnings, report.context_length) == (["prompt_truncated"], CONTEXT)
    refused, answered = simulator.calls_to(surface.upstream)
    assert refused.body == answered.body | {"truncate": False}
    assert "truncate" not in answered.body


@surfaces
async def test_truncate_false_rejects_a_prompt_that_does_not_fit(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, surface: Surface
) -> None:
    report = await surface.tell(client, url, surface.long_body | {"truncate": False})
    assert report.status == 400
    (call,) = simulator.calls_to(surface.upstream)
    assert call.body["truncate"] is False


@surfaces
async def test_a_response_that_ends_at_a_full_context_is_reported(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, surface: Surface
) -> None:
    simulator.answer_tokens = 2 * CONTEXT
    body = surface.long_body | {"shift": False, "max_tokens": 2 * CONTEXT}
    if surface.endpoint == "generate":
        body |= {"prompt": "who should start this week"}
    else:
        body |= {"messages": TURNS[:3]}
    report = await surface.tell(client, url, body)
    assert (report.status, report.header) == (200, None)
    if surface.accept != PLAIN:
        assert (report.warnings, report.context_length) == (["context_full"], CONTEXT)
    assert simulator.calls_to(surface.upstream)[-1].body["shift"] is False


@surfaces
async def test_a_prompt_that_fits_is_sent_once_without_a_warning(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, surface: Surface
) -> None:
    fits = {"generate": {"prompt": "who starts? " * 100}}.get(surface.endpoint, {"messages": TURNS[:9]})
    report = await surface.tell(client, url, surface.long_body | fits)
    assert (report.status, report.warnings, report.header) == (200, [], None)
    assert len(simulator.calls_to(surface.upstream)) == 1


@pytest.mark.parametrize("surface", [SURFACES[0], SURFACES[4], SURFACES[6]], ids=lambda surface: surface.name)
async def test_a_prompt_that_fills_the_context_is_not_reported(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, surface: Surface
) -> None:
    """Its token count is that of a truncated one."""
    counts_two_more = CONTEXT - 2
    fills = {"generate": {"prompt": "so " * counts_two_more}}.get(
        surface.endpoint, {"messages": [{"role": "user", "content": "so " * (counts_two_more - 1)}]}
    )
    report = await surface.tell(client, url, surface.long_body | fills)
    assert (report.status, report.warnings, report.header) == (200, [], None)
    (call,) = simulator.calls_to(surface.upstream)
    assert call.body["truncate"] is False
    one_more = {"generate": {"prompt": "so " * (counts_two_more + 1)}}.get(
        surface.endpoint, {"messages": [{"role": "user", "content": "so " * counts_two_more}]}
    )
    assert (await surface.tell(client, url, surface.long_body | one_more)).warnings == ["prompt_truncated"]


async def test_max_tokens_is_not_reported_as_a_full_context(client: aiohttp.ClientSession, url: str) -> None:
    answer = await succeed(client, url, "generate", GENERATE | SMALL)
    assert (answer["done_reason"], answer["warnings"]) == ("length", [])


async def test_a_short_prompt_is_sent_without_truncate(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    await succeed(client, url, "chat", CHAT)
    (call,) = simulator.calls_to("/api/chat")
    assert call.body.keys() == {"model", "messages", "stream", "options"}


async def test_the_context_length_is_cached_by_model_and_num_ctx(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    for _ in range(3):
        assert (await succeed(client, url, "chat", CHAT))["usage"]["context_length"] == 4096
        await see(client.post(f"{url}/api/ollama/chat", json=CHAT | {"stream": True}))
    assert len(simulator.calls_to("/api/ps")) == 1
    assert (await succeed(client, url, "chat", CHAT | SMALL))["usage"]["context_length"] == CONTEXT
    assert len(simulator.calls_to("/api/ps")) == 2


async def test_text_is_sent_before_the_context_length_is_known(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    """A short response arrives at once; only the last event waits for `/api/ps`."""
    simulator.fault(Fault(path="/api/ps", delay_seconds=0.3))
    async with client.post(
        f"{url}/api/ollama/generate", json=GENERATE | {"stream": True}, headers={"Accept": NDJSON}
    ) as response:
        pieces = response.content
        seen = b""
        while b'"done"' not in seen:
            piece = await pieces.readany()
            assert b'"done"' not in piece or b'"token"' not in piece
            seen += piece
    assert b'"context_length":4096' in seen


@pytest.mark.parametrize(
    "fault",
    [
        Fault(path="/api/ps", status=500),
        Fault(path="/api/ps", body=b'{"models": null}', content_type="application/json"),
        Fault(path="/api/ps", body=b'{"models": [{"name": "llama3.1:latest"}]}', content_type="application/json"),
    ],
    ids=["fails", "not loaded", "older than 0.10"],
)
async def test_an_unknown_context_length_is_null(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, fault: Fault
) -> None:
    simulator.fault(fault)
    answer = await succeed(client, url, "generate", GENERATE)
    assert (answer["usage"]["context_length"], answer["warnings"]) == (None, [])


async def test_a_400_for_another_reason_is_passed_on(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.fault(Fault(path="/api/generate", status=400, message="no such thing", times=2))
    document = problem_in(await post(client, url, "generate", LONG_PROMPT), "rejected_by_ollama")
    assert "no such thing" in document["detail"]


async def test_a_format_for_a_thinking_model_is_sent_once(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    """Such a model processes the prompt again with its thinking, which may not fit in the middle of a response."""
    await succeed(client, url, "chat", LONG_CHAT | {"model": "gpt-oss", "format": "json"})
    (call,) = simulator.calls_to("/api/chat")
    assert "truncate" not in call.body
    await succeed(client, url, "chat", LONG_CHAT | {"format": "json", "max_tokens": 100})
    assert len(simulator.calls_to("/api/chat")) == 3


async def test_the_settings_are_defaults_for_requests(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator
) -> None:
    async with serve(create_app(make_settings(truncate_prompts=False, shift_context=False))) as url:
        problem_in(await post(client, url, "generate", LONG_PROMPT), "rejected_by_ollama")
        answer = await succeed(client, url, "generate", LONG_PROMPT | {"truncate": True, "shift": True})
    assert answer["warnings"] == ["prompt_truncated"]
    assert [(call.body["truncate"], call.body["shift"]) for call in simulator.calls_to("/api/generate")] == [
        (False, False),
        (False, True),
        (True, True),
    ]


@pytest.mark.parametrize("endpoint", ["generate", "chat"])
@pytest.mark.parametrize("field", ["truncate", "shift"])
async def test_a_value_that_is_not_a_boolean_is_422(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, endpoint: str, field: str
) -> None:
    body = {"generate": GENERATE, "chat": CHAT}[endpoint]
    document = problem_in(await post(client, url, endpoint, body | {field: "no"}), "invalid_request")
    assert [line["field"] for line in document["errors"]] == [field]
    assert simulator.calls_to(f"/api/{endpoint}") == []


# Ollama before 0.12.6, which ignores both fields


@pytest.fixture
async def old_url(make_settings: MakeSettings, simulator: Simulator) -> AsyncIterator[str]:
    """The service in front of an old Ollama."""
    body = b'{"version": "0.12.5"}'
    simulator.fault(Fault(path="/api/version", body=body, content_type="application/json", times=None))
    async with serve(create_app(make_settings())) as url:
        await simulator.received("/api/version")
        yield url


@pytest.mark.parametrize("field", ["truncate", "shift"])
@pytest.mark.parametrize("surface", [SURFACES[0], SURFACES[4], SURFACES[6]], ids=lambda surface: surface.name)
async def test_an_old_ollama_that_ignores_the_fields_is_reported(
    client: aiohttp.ClientSession, old_url: str, surface: Surface, field: str
) -> None:
    short = {"generate": {"prompt": "who starts?"}}.get(surface.endpoint, {"messages": TURNS[:3]})
    report = await surface.tell(client, old_url, surface.long_body | short | {field: False})
    assert report.warnings == ["truncate_unsupported"]


async def test_an_old_ollama_is_sent_a_long_prompt_once(
    client: aiohttp.ClientSession, old_url: str, simulator: Simulator
) -> None:
    answer = await post(client, old_url, "generate", LONG_PROMPT)
    assert answer.json()["warnings"] == ["prompt_truncated"]  # proved by its token counts
    assert answer.headers["X-Prompt-Truncated"] == "true"
    (call,) = simulator.calls_to("/api/generate")
    assert "truncate" not in call.body


async def test_the_version_is_requested_before_a_long_prompt_is_sent(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    """An Ollama that ignores `truncate: false` would seem to prove that the prompt fits."""
    simulator.fault(Fault(path="/api/version", body=b'{"version": "0.9.0"}', content_type="application/json"))
    service = OllamaService(make_settings(ollama_num_ctx=CONTEXT))
    request = CompletionRequest(path="/api/generate", model="llama3.1", content={"prompt": LONG_TEXT})
    try:
        answer = await service.complete(request)
    finally:
        await service.disconnect()
    assert answer.done.warnings == ["prompt_truncated"]
    (call,) = simulator.calls_to("/api/generate")
    assert "truncate" not in call.body


async def test_the_version_is_requested_once_if_it_is_unknown(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    simulator.fault(Fault(path="/api/version", body=b'{"version": "0.9.0"}', content_type="application/json"))
    service = OllamaService(make_settings(truncate_prompts=False))
    try:
        for _ in range(2):
            await service.generate("llama3.1", "who starts?")
    finally:
        await service.disconnect()
    assert len(simulator.calls_to("/api/version")) == 1


# Embeddings


@pytest.mark.parametrize("texts", [LONG_TEXT * 3, ["a trade", LONG_TEXT * 3]], ids=["one", "among others"])
async def test_a_truncated_text_is_reported(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, texts: str | list[str]
) -> None:
    for answer in (
        await succeed(client, url, "embeddings", {"text": texts}),
        (await ask(client, url, "embeddings", {"input": texts})).json(),
    ):
        assert answer["warnings"] == ["prompt_truncated"]
    assert [call.body["truncate"] for call in simulator.calls_to("/api/embed")] == [False, True] * 2


async def test_a_long_text_that_fits_is_embedded_once(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    answer = await succeed(client, url, "embeddings", {"text": LONG_TEXT})
    assert answer["warnings"] == []
    assert len(simulator.calls_to("/api/embed")) == 1


async def test_truncate_false_rejects_a_long_text(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    answer = await post(client, url, "embeddings", {"text": LONG_TEXT * 3, "truncate": False})
    problem_in(answer, "rejected_by_ollama")
    assert len(simulator.calls_to("/api/embed")) == 1

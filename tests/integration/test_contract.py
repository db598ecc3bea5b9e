"""The REST API, tested with the simulator and with a real Ollama."""

import asyncio
import json
import math
from typing import Any

import aiohttp
import pytest

from main import create_app
from tests.integration.streams import NDJSON, SSE, TEXT, events, text_of
from tests.integration.upstreams import Api, Upstream, settings_for
from tests.serving import serve

MODEL = "llama3.1"
FORMS = [SSE, NDJSON, TEXT]
PROMPT = "Name a few players to keep an eye on this week."
SCHEMA = {
    "type": "object",
    "properties": {"keep": {"type": "boolean"}, "position": {"enum": ["QB", "RB", "WR"]}},
    "required": ["keep", "position"],
}
GENERATE = {"prompt": PROMPT, "model": MODEL, "max_tokens": 24, "seed": 7}
CHAT = {
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROMPT}],
    "model": MODEL,
    "max_tokens": 24,
    "seed": 7,
}
# The defaults of the settings.
OPTIONS = {
    "temperature": 0.7,
    "top_p": 0.9,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "num_predict": 24,
    "seed": 7,
}


async def problem(response: aiohttp.ClientResponse, status: int, code: str) -> dict[str, Any]:
    """Return the problem document that the response must be."""
    document: dict[str, Any] = await response.json(content_type="application/problem+json")
    assert (response.status, document["status"], document["code"]) == (status, status, code), document
    assert document["success"] is False
    assert document["request_id"] == response.headers["X-Request-ID"]
    assert "127.0.0.1" not in json.dumps(document)
    return document


# Health and models


async def test_health_has_the_version_and_the_models(service: Api, direct: Api) -> None:
    async with direct.get("/api/version") as response:
        version = (await response.json())["version"]
    async with service.get("/health") as response:
        health = await response.json()
        assert response.status == 200
    assert health["status"] == "healthy"
    assert health["services"] == {"ollama": "up"}
    assert health["ollama"]["version"] == version
    assert health["ollama"]["latency_ms"] > 0
    assert health["ollama"]["models"] == {"gpt-oss": True, "llama3.1": True, "nomic-embed-text": True}
    assert (health["ollama"]["running"], health["ollama"]["queued"]) == (0, 0)


async def test_health_shows_a_configured_model_that_is_missing(
    client: aiohttp.ClientSession, upstream: Upstream
) -> None:
    settings = settings_for(upstream, quality_model="not-installed:70b")
    async with serve(create_app(settings)) as url, client.get(f"{url}/health") as response:
        health = await response.json()
        assert response.status == 200
    assert health["status"] == "healthy"
    assert health["ollama"]["models"]["not-installed:70b"] is False


@pytest.mark.parametrize("path", ["/health/ready", "/health/live"])
async def test_ready_and_live(service: Api, path: str) -> None:
    async with service.get(path) as response:
        assert response.status == 200


async def test_the_models_are_those_of_ollama(service: Api, direct: Api) -> None:
    async with direct.get("/api/tags") as response:
        tags = {item["model"]: item for item in (await response.json())["models"]}
    async with service.get("/api/ollama/models") as response:
        listed = await response.json()
    models = {item["model"]: item for item in listed["models"]}
    assert models.keys() == tags.keys()
    for exact, item in models.items():
        for key in ("size", "modified_at", "digest", "details"):
            assert item[key] == tags[exact][key]
        assert item["name"] == exact.removesuffix(":latest")
        assert item.get("capabilities") == tags[exact].get("capabilities")
    assert {"gpt-oss", "llama3.1", "nomic-embed-text"} <= {item["name"] for item in listed["models"]}


async def test_the_model_list_is_cached_unless_a_refresh_is_forced(service: Api) -> None:
    seen = []
    for query in ("?force_refresh=true", "", "?force_refresh=true"):
        async with service.get(f"/api/ollama/models{query}") as response:
            listed = await response.json()
        assert listed["success"] is True
        assert listed["stale"] is False
        assert 0 <= listed["age_seconds"] < 30
        seen.append(listed["cached"])
    assert seen == [False, True, False]


# Complete responses


async def test_a_generate_response_is_the_one_of_ollama(service: Api, direct: Api) -> None:
    answer = await service.answer("/api/ollama/generate", GENERATE)
    own = await direct.answer("/api/generate", {"model": MODEL, "prompt": PROMPT, "stream": False, "options": OPTIONS})
    assert answer["response"] == own["response"]
    assert answer["response"]
    assert answer["done_reason"] == own["done_reason"]
    assert answer["usage"] == {
        "prompt_tokens": own["prompt_eval_count"],
        "completion_tokens": own["eval_count"],
        "total_tokens": own["prompt_eval_count"] + own["eval_count"],
        "context_length": 4096,
    }
    assert (answer["success"], answer["model"], answer["requested_model"]) == (True, MODEL, MODEL)
    assert (answer["fallback"], answer["warnings"], answer["thinking"]) == (False, [], None)


async def test_a_chat_response_is_the_one_of_ollama(service: Api, direct: Api) -> None:
    answer = await service.answer("/api/ollama/chat", CHAT)
    own = await direct.answer(
        "/api/chat", {"model": MODEL, "messages": CHAT["messages"], "stream": False, "options": OPTIONS}
    )
    assert answer["response"] == own["message"]["content"]
    assert answer["message"] == {
        "role": "assistant",
        "content": answer["response"],
        "thinking": None,
        "tool_calls": None,
    }
    assert answer["usage"]["completion_tokens"] == own["eval_count"]
    assert answer["usage"]["prompt_tokens"] == own["prompt_eval_count"]


async def test_timings_are_milliseconds(service: Api) -> None:
    began = asyncio.get_running_loop().time()
    answer = await service.answer("/api/ollama/generate", GENERATE)
    elapsed_ms = (asyncio.get_running_loop().time() - began) * 1000
    timings = answer["timings"]
    assert 0 < timings["completion_ms"] <= timings["total_ms"]
    assert timings["load_ms"] + timings["prompt_ms"] <= timings["total_ms"]
    # The simulator adds a duration for reading the prompt that does not pass.
    assert timings["total_ms"] < elapsed_ms + 5
    expected = answer["usage"]["completion_tokens"] / timings["completion_ms"] * 1000
    assert timings["tokens_per_second"] == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("path", "body"), [("generate", GENERATE), ("chat", CHAT)])
async def test_every_response_names_its_request_and_model(service: Api, path: str, body: dict[str, Any]) -> None:
    for accept in (None, *FORMS):
        async with service.post(f"/api/ollama/{path}", body | {"stream": accept is not None}, accept) as response:
            await response.read()
            assert response.headers["X-Model"] == MODEL
            assert response.headers["X-Model-Fallback"] == "false"
            assert response.headers["X-Request-ID"]


async def test_max_tokens_ends_the_response(service: Api) -> None:
    answer = await service.answer("/api/ollama/generate", GENERATE | {"max_tokens": 5})
    assert answer["usage"]["completion_tokens"] == 5
    assert answer["done_reason"] == "length"


async def test_one_token_has_a_rate_only_if_ollama_reports_its_duration(service: Api, runs_llama_server: bool) -> None:
    answer = await service.answer("/api/ollama/generate", GENERATE | {"max_tokens": 1})
    assert answer["usage"]["completion_tokens"] == 1
    timings = answer["timings"]
    if runs_llama_server:
        assert timings["tokens_per_second"] == pytest.approx(1000 / timings["completion_ms"], rel=0.01)
    else:
        assert timings["tokens_per_second"] is None


@pytest.mark.parametrize("as_list", [False, True], ids=["string", "list"])
async def test_stop_ends_the_response_before_the_stop_string(service: Api, as_list: bool) -> None:
    whole = (await service.answer("/api/ollama/generate", GENERATE))["response"]
    stop = whole.split()[5]
    answer = await service.answer("/api/ollama/generate", GENERATE | {"stop": [stop, "§§"] if as_list else stop})
    assert answer["response"] == whole[: whole.index(stop)]
    assert answer["done_reason"] == "stop"


async def test_the_seed_determines_the_response(service: Api) -> None:
    seeds = (1, 2, 1)
    first, other, again = [
        (await service.answer("/api/ollama/generate", GENERATE | {"seed": seed}))["response"] for seed in seeds
    ]
    assert first == again
    assert first != other


async def test_the_system_prompt_reaches_the_model(service: Api) -> None:
    without = await service.answer("/api/ollama/generate", GENERATE)
    given = await service.answer("/api/ollama/generate", GENERATE | {"system": "You know all about football."})
    assert given["usage"]["prompt_tokens"] > without["usage"]["prompt_tokens"]
    assert given["response"] != without["response"]


async def test_a_conversation_with_all_roles_is_accepted(service: Api) -> None:
    call = {"function": {"name": "score", "arguments": {"player": "Kelce"}}}
    messages = [
        {"role": "user", "content": "How many points?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_name": "score", "content": "18.5"},
    ]
    answer = await service.answer("/api/ollama/chat", CHAT | {"messages": messages})
    assert answer["response"]


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_are_accepted(service: Api, stream: bool) -> None:
    parameters = {"type": "object", "properties": {"player": {"type": "string"}}, "required": ["player"]}
    tool = {"type": "function", "function": {"name": "score", "description": "Points.", "parameters": parameters}}
    async with service.post("/api/ollama/chat", CHAT | {"tools": [tool], "stream": stream}, NDJSON) as response:
        assert response.status == 200
        if stream:
            *answer, done = [event async for event in events(response)]
            assert any(event["type"] in {"token", "tool_call"} for event in answer)
            assert done["type"] == "done"
        else:
            message = (await response.json())["message"]
            assert message["content"] or message["tool_calls"]


@pytest.mark.parametrize(("path", "body"), [("generate", GENERATE), ("chat", CHAT)])
async def test_a_response_follows_its_schema(service: Api, path: str, body: dict[str, Any]) -> None:
    answer = await service.answer(f"/api/ollama/{path}", body | {"format": SCHEMA, "max_tokens": 200})
    value = json.loads(answer["response"])
    assert isinstance(value["keep"], bool)
    assert value["position"] in {"QB", "RB", "WR"}
    assert answer["warnings"] == []


async def test_truncated_json_has_a_warning(service: Api) -> None:
    answer = await service.answer("/api/ollama/generate", GENERATE | {"format": "json", "max_tokens": 1})
    assert answer["response"].lstrip().startswith("{")
    assert answer["warnings"] == ["invalid_json"]


@pytest.mark.parametrize("form", [SSE, NDJSON])
async def test_truncated_json_has_a_warning_in_a_stream(service: Api, form: str) -> None:
    body = GENERATE | {"format": "json", "max_tokens": 1, "stream": True}
    async with service.post("/api/ollama/generate", body, form) as response:
        stream = [event async for event in events(response)]
    assert stream[-1]["warnings"] == ["invalid_json"]


# Streams


@pytest.mark.parametrize(("path", "body"), [("generate", GENERATE), ("chat", CHAT)])
async def test_all_stream_formats_have_the_same_response(service: Api, path: str, body: dict[str, Any]) -> None:
    whole = await service.answer(f"/api/ollama/{path}", body)
    for form in (SSE, NDJSON):
        async with service.post(f"/api/ollama/{path}", body | {"stream": True}, form) as response:
            assert response.status == 200
            assert response.content_type == form
            stream = [event async for event in events(response)]
        assert text_of(stream) == whole["response"]
        assert stream[-1]["usage"] == whole["usage"]
    async with service.post(f"/api/ollama/{path}", body | {"stream": True}, TEXT) as response:
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert await response.text() == whole["response"]


@pytest.mark.parametrize("form", [SSE, NDJSON])
async def test_a_stream_has_a_start_tokens_and_one_end(service: Api, form: str) -> None:
    async with service.post("/api/ollama/generate", GENERATE | {"stream": True}, form) as response:
        stream = [event async for event in events(response)]
        request_id = response.headers["X-Request-ID"]
    start, *tokens, done = stream
    assert start == {
        "type": "start",
        "model": MODEL,
        "requested_model": MODEL,
        "fallback": False,
        "request_id": request_id,
    }
    assert {event["type"] for event in tokens} == {"token"}
    assert len(tokens) > 5
    assert done["type"] == "done"
    assert done["done_reason"] in {"length", "stop"}
    assert done["warnings"] == []
    assert done["timings"]["total_ms"] > 0


@pytest.mark.parametrize("form", FORMS)
async def test_a_stream_has_headers_against_buffering(service: Api, form: str) -> None:
    async with service.post("/api/ollama/generate", GENERATE | {"stream": True}, form) as response:
        await response.read()
        assert response.headers["Cache-Control"] == "no-cache, no-transform"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert "accept" in response.headers["Vary"].lower()
        assert "Content-Length" not in response.headers


async def test_stop_works_in_a_stream(service: Api) -> None:
    whole = (await service.answer("/api/ollama/generate", GENERATE))["response"]
    stop = whole.split()[5]
    async with service.post("/api/ollama/generate", GENERATE | {"stop": stop, "stream": True}, NDJSON) as response:
        stream = [event async for event in events(response)]
    assert text_of(stream) == whole[: whole.index(stop)]
    assert stream[-1]["done_reason"] == "stop"


# Embeddings


async def test_an_embedding_is_the_one_of_ollama(service: Api, direct: Api) -> None:
    answer = await service.answer("/api/ollama/embeddings", {"text": "a fantasy football league"})
    own = await direct.answer("/api/embed", {"model": "nomic-embed-text", "input": "a fantasy football league"})
    assert answer["embeddings"] == pytest.approx(own["embeddings"][0], abs=1e-6)
    assert math.hypot(*answer["embeddings"]) == pytest.approx(1, abs=1e-5)
    assert answer["dimension"] == len(answer["embeddings"]) == 768
    assert answer["model"] == "nomic-embed-text"
    assert answer["usage"] == {"prompt_tokens": own["prompt_eval_count"]}


async def test_many_embeddings_are_in_order(service: Api) -> None:
    texts = ["quarterback", "running back", "wide receiver", "quarterback"]
    answer = await service.answer("/api/ollama/embeddings", {"text": texts})
    assert len(answer["embeddings"]) == len(texts)
    for text, vector in zip(texts, answer["embeddings"], strict=True):
        alone = await service.answer("/api/ollama/embeddings", {"text": text})
        assert vector == pytest.approx(alone["embeddings"], abs=1e-6)
        assert math.hypot(*vector) == pytest.approx(1, abs=1e-5)
    assert answer["embeddings"][0] != answer["embeddings"][1]


async def test_a_list_of_one_text_gives_a_list_of_one_vector(service: Api) -> None:
    answer = await service.answer("/api/ollama/embeddings", {"text": ["one"]})
    assert [len(vector) for vector in answer["embeddings"]] == [768]


async def test_dimensions_truncate_the_vectors(service: Api) -> None:
    answer = await service.answer("/api/ollama/embeddings", {"text": "one", "dimensions": 64})
    whole = await service.answer("/api/ollama/embeddings", {"text": "one"})
    assert answer["dimension"] == len(answer["embeddings"]) == 64
    kept = whole["embeddings"][:64]
    assert answer["embeddings"] == pytest.approx([number / math.hypot(*kept) for number in kept], abs=1e-5)


async def test_a_long_text_is_truncated_unless_truncate_is_false(service: Api) -> None:
    text = "a very long story " * 2000
    answer = await service.answer("/api/ollama/embeddings", {"text": text})
    assert (answer["dimension"], answer["warnings"]) == (768, ["prompt_truncated"])
    async with service.post("/api/ollama/embeddings", {"text": text, "truncate": False}) as response:
        await problem(response, 400, "rejected_by_ollama")


# Prompts that are longer than the context


CONTEXT = 512
SMALL = {"options": {"num_ctx": CONTEXT}, "max_tokens": 3, "model": "llama3.1"}
TOO_LONG: dict[str, dict[str, Any]] = {
    "generate": {"prompt": "who should start this week " * 300},
    "chat": {"messages": [{"role": "user", "content": "who should start this week " * 10}] * 40},
}
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
both_endpoints = pytest.mark.parametrize("endpoint", ["generate", "chat"])


async def last_event(service: Api, endpoint: str, body: dict[str, Any], *, stream: bool) -> dict[str, Any]:
    if not stream:
        return await service.answer(f"/api/ollama/{endpoint}", body)
    async with service.post(f"/api/ollama/{endpoint}", body | {"stream": True}, NDJSON) as response:
        return [event async for event in events(response)][-1]


@both_ways
@both_endpoints
async def test_a_truncated_prompt_is_reported(service: Api, endpoint: str, stream: bool) -> None:
    last = await last_event(service, endpoint, TOO_LONG[endpoint] | SMALL, stream=stream)
    assert (last["warnings"], last["usage"]["context_length"]) == (["prompt_truncated"], CONTEXT)


@both_ways
@both_endpoints
async def test_a_long_prompt_is_rejected_if_truncate_is_false(service: Api, endpoint: str, stream: bool) -> None:
    body = TOO_LONG[endpoint] | SMALL | {"truncate": False, "stream": stream}
    async with service.post(f"/api/ollama/{endpoint}", body) as response:
        await problem(response, 400, "rejected_by_ollama")


@both_endpoints
async def test_a_prompt_is_reported_from_the_first_length_that_does_not_fit(service: Api, endpoint: str) -> None:
    """A prompt that fits exactly has the token count of a truncated one."""

    def body(words: int) -> dict[str, Any]:
        text = "who " * (words // 2)
        turns = [{"role": role, "content": text} for role in ("user", "assistant", "user")]
        wanted = {"prompt": "who " * words} if endpoint == "generate" else {"messages": turns}
        return wanted | SMALL

    async def fits(words: int) -> bool:
        async with service.post(f"/api/ollama/{endpoint}", body(words) | {"truncate": False}) as response:
            return response.status == 200

    fit, too_long = 2, 2 * CONTEXT
    while too_long - fit > 2:
        middle = (fit + too_long) // 4 * 2
        fit, too_long = (middle, too_long) if await fits(middle) else (fit, middle)
    assert (await service.answer(f"/api/ollama/{endpoint}", body(fit)))["warnings"] == []
    async with service.post(f"/api/ollama/{endpoint}", body(too_long)) as response:
        answer = await response.json()
    # Since 0.30, a prompt that is only a little too long is rejected.
    assert answer["warnings"] == ["prompt_truncated"] if response.status == 200 else "exceeds" in answer["detail"]


@both_ways
async def test_a_response_that_ends_at_a_full_context_is_reported(service: Api, stream: bool) -> None:
    body = {"prompt": "who should start " * 8, "options": {"num_ctx": 256}, "max_tokens": 2000, "shift": False}
    last = await last_event(service, "generate", body, stream=stream)
    assert last["usage"]["context_length"] == 256
    assert ("context_full" in last["warnings"]) is (last["done_reason"] == "length")


# Requests that Ollama rejects


@pytest.mark.parametrize(("path", "body"), [("generate", GENERATE), ("chat", CHAT)])
async def test_an_embedding_model_does_not_generate(service: Api, path: str, body: dict[str, Any]) -> None:
    for accept in (None, *FORMS):
        wrong = body | {"model": "nomic-embed-text", "stream": accept is not None}
        async with service.post(f"/api/ollama/{path}", wrong, accept) as response:
            document = await problem(response, 400, "unsupported_by_model")
        assert "does not support completion; 'gpt-oss' does" in document["detail"]
        assert document["retryable"] is False


@pytest.mark.parametrize(("path", "body"), [("generate", GENERATE), ("chat", CHAT)])
@pytest.mark.parametrize("think", [True, "low"])
async def test_think_is_rejected_for_a_model_without_thinking(
    service: Api, path: str, body: dict[str, Any], think: bool | str
) -> None:
    async with service.post(f"/api/ollama/{path}", body | {"think": think}) as response:
        document = await problem(response, 400, "unsupported_by_model")
    assert "does not support thinking" in document["detail"]


async def test_think_false_is_accepted_for_any_model(service: Api) -> None:
    answer = await service.answer("/api/ollama/generate", GENERATE | {"think": False})
    assert answer["thinking"] is None


@pytest.mark.parametrize(
    "fault",
    [
        {"options": {"temperature": "hot"}},
        {"options": {"stop": [1]}},
        {"format": "xml"},
        {"format": {"type": "banana"}},
        {"keep_alive": "5 parsecs"},
        {"think": "hard"},
        {"images": ["https://example.org/a.png"]},
        {"model": "no such name!"},
        {"temprature": 1},
    ],
    ids=str,
)
async def test_requests_that_ollama_mishandles_are_rejected(service: Api, fault: dict[str, Any]) -> None:
    async with service.post("/api/ollama/generate", GENERATE | fault) as response:
        document = await problem(response, 422, "invalid_request")
    assert document["errors"]


@pytest.mark.parametrize(("path", "body"), [("generate", GENERATE), ("chat", CHAT)])
@pytest.mark.parametrize("schema", [{"type": "string", "pattern": "abc"}, {"required": ["keep"]}], ids=str)
async def test_a_schema_that_ollama_rejects_is_an_error_before_the_stream_starts(
    service: Api, path: str, body: dict[str, Any], schema: dict[str, Any], runs_llama_server: bool
) -> None:
    for accept in (None, *FORMS):
        asked = body | {"format": schema, "stream": accept is not None}
        async with service.post(f"/api/ollama/{path}", asked, accept) as response:
            if runs_llama_server:
                assert response.status == 200
                assert await response.read()
                continue
            document = await problem(response, 502, "ollama_error")
        assert "invalid JSON schema" in document["detail"]


# Models that are not installed


@pytest.mark.parametrize(("path", "body"), [("generate", GENERATE), ("chat", CHAT)])
async def test_the_default_model_replaces_an_unknown_one(service: Api, path: str, body: dict[str, Any]) -> None:
    async with service.post(f"/api/ollama/{path}", body | {"model": "nowhere:7b"}) as response:
        answer = await response.json()
        assert response.status == 200
        assert (response.headers["X-Model"], response.headers["X-Model-Fallback"]) == ("gpt-oss", "true")
    assert (answer["model"], answer["requested_model"], answer["fallback"]) == ("gpt-oss", "nowhere:7b", True)
    assert "fallback_model" in answer["warnings"]


@pytest.mark.parametrize("form", FORMS)
async def test_a_stream_reports_the_fallback(service: Api, form: str) -> None:
    body = GENERATE | {"model": "nowhere:7b", "stream": True}
    async with service.post("/api/ollama/generate", body, form) as response:
        assert (response.headers["X-Model"], response.headers["X-Model-Fallback"]) == ("gpt-oss", "true")
        if form == TEXT:
            await response.read()
            return
        start, *_, done = [event async for event in events(response)]
    assert (start["model"], start["requested_model"], start["fallback"]) == ("gpt-oss", "nowhere:7b", True)
    assert "fallback_model" in done["warnings"]


@pytest.mark.parametrize("accept", [None, *FORMS])
async def test_without_fallback_an_unknown_model_is_404(service: Api, accept: str | None) -> None:
    body = GENERATE | {"model": "nowhere:7b", "fallback": False, "stream": accept is not None}
    async with service.post("/api/ollama/generate", body, accept) as response:
        document = await problem(response, 404, "model_not_found")
    assert {"gpt-oss", "llama3.1", "nomic-embed-text"} <= set(document["available"])


async def test_embeddings_have_no_fallback(service: Api) -> None:
    async with service.post("/api/ollama/embeddings", {"text": "one", "model": "nowhere"}) as response:
        document = await problem(response, 404, "model_not_found")
    assert "nomic-embed-text" in document["available"]


@pytest.mark.parametrize(
    "name", ["LLAMA3.1", "llama3.1:latest", "library/llama3.1", "registry.ollama.ai/library/llama3.1"]
)
async def test_a_model_is_found_under_each_of_its_names(service: Api, name: str) -> None:
    answer = await service.answer("/api/ollama/generate", GENERATE | {"model": name, "max_tokens": 2})
    assert (answer["model"], answer["requested_model"], answer["fallback"]) == (MODEL, name, False)


async def test_another_tag_is_another_model(service: Api) -> None:
    async with service.post("/api/ollama/generate", GENERATE | {"model": "llama3.1:8b", "fallback": False}) as response:
        await problem(response, 404, "model_not_found")


# Load


async def test_a_prompt_longer_than_the_context_gets_a_response(
    client: aiohttp.ClientSession, upstream: Upstream
) -> None:
    settings = settings_for(upstream, ollama_num_ctx=128)
    async with serve(create_app(settings)) as url:
        body = GENERATE | {"prompt": "word " * 2000, "max_tokens": 4}
        answer = await Api(client, url).answer("/api/ollama/generate", body)
    assert answer["response"]
    assert answer["usage"]["prompt_tokens"] <= 128


async def test_sixty_concurrent_requests_succeed(service: Api) -> None:
    bodies = [GENERATE | {"max_tokens": 4, "stream": number % 3 == 0} for number in range(60)]

    async def ask(body: dict[str, Any]) -> tuple[int, str]:
        async with service.post("/api/ollama/generate", body) as response:
            text = await response.text()
            return response.status, text if body["stream"] else json.loads(text)["response"]

    answers = await asyncio.gather(*map(ask, bodies))
    assert {status for status, _ in answers} == {200}
    assert len({text for _, text in answers}) == 1
    async with service.get("/health") as response:
        health = await response.json()
    assert (health["ollama"]["running"], health["ollama"]["queued"]) == (0, 0)

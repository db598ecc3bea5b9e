"""Schemas that harm some versions of Ollama are rejected for those versions."""

import json
from typing import Any

import aiohttp
import pytest

from main import create_app
from services.completion import CompletionRequest
from services.ollama.errors import InvalidRequestError
from services.ollama_service import OllamaService
from simulator import Fault, Simulator
from tests.api import COMPLETIONS, GENERATE, post, problem_in, succeed
from tests.conftest import MakeSettings
from tests.serving import serve

ENDS_SERVER = {"type": "string", "pattern": "^(?:a|b)c$"}
ENDS_RUNNER = {"type": "string", "pattern": r"^\d{3}$"}
HARMS_ALL = {"type": "string", "minLength": 3, "maxLength": 2}
HARMLESS = {"type": "string", "pattern": "^[^*]+$"}

NEW_MODEL = {"name": "llama3.1:latest", "model": "llama3.1:latest", "details": {}, "capabilities": ["completion"]}
NEW_DETAILS = {"name": "llama3.1:latest", "model": "llama3.1:latest", "details": {"context_length": 4096}}
OLD_MODEL = {"name": "llama3.1:latest", "model": "llama3.1:latest", "details": {"families": None}}


def answer_with(simulator: Simulator, path: str, body: Any) -> None:
    content = json.dumps(body).encode()
    simulator.fault(Fault(path=path, body=content, content_type="application/json", times=None))


def be(simulator: Simulator, version: str, model: dict[str, Any]) -> None:
    """Make the simulator report a version, and list one model."""
    answer_with(simulator, "/api/version", {"version": version})
    answer_with(simulator, "/api/tags", {"models": [model]})


def generations(simulator: Simulator) -> list[str]:
    return [seen.path for seen in simulator.calls if seen.path in {"/api/generate", "/api/chat"}]


@pytest.mark.parametrize(
    ("version", "model"),
    [("0.24.0", OLD_MODEL), ("0.24.0", NEW_MODEL), ("v0.9.1", NEW_MODEL), ("0.0.0", OLD_MODEL), ("dev", OLD_MODEL)],
)
async def test_harmful_schemas_are_not_sent_to_ollama_before_0_30(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    simulator: Simulator,
    version: str,
    model: dict[str, Any],
) -> None:
    be(simulator, version, model)
    app = create_app(make_settings())
    async with serve(app) as url:
        await app.state.ollama_service.health()
        for endpoint, body in COMPLETIONS:
            for schema in (ENDS_SERVER, ENDS_RUNNER, HARMS_ALL):
                for stream in (False, True):
                    answer = await post(client, url, endpoint, body | {"format": schema, "stream": stream})
                    document = problem_in(answer, "invalid_request")
                    assert [line["field"] for line in document["errors"]] == ["format"]
                    assert "This version of Ollama does not support" in document["detail"]
        assert not generations(simulator)
        await succeed(client, url, "generate", GENERATE | {"format": HARMLESS})


@pytest.mark.parametrize(
    ("version", "model"),
    [
        ("0.30.0", NEW_MODEL),
        ("0.33.0-rc2", OLD_MODEL),
        ("1.0", OLD_MODEL),
        ("0.0.0", NEW_MODEL),
        ("0.0.0", NEW_DETAILS),
    ],
)
async def test_newer_versions_get_the_schemas_they_support(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    simulator: Simulator,
    version: str,
    model: dict[str, Any],
) -> None:
    be(simulator, version, model)
    app = create_app(make_settings())
    async with serve(app) as url:
        await app.state.ollama_service.health()
        for endpoint, body in COMPLETIONS:
            for schema in (ENDS_SERVER, ENDS_RUNNER):
                assert (await post(client, url, endpoint, body | {"format": schema})).status != 422
                assert simulator.calls_to(f"/api/{endpoint}")[-1].body["format"] == schema
            problem_in(await post(client, url, endpoint, body | {"format": HARMS_ALL}), "invalid_request")
    assert len(generations(simulator)) == 4


@pytest.mark.parametrize(("schema", "is_refused"), [(ENDS_SERVER, True), (HARMS_ALL, True), (ENDS_RUNNER, False)])
async def test_a_schema_that_may_crash_a_server_is_not_sent_to_an_unknown_version(
    make_settings: MakeSettings, simulator: Simulator, schema: dict[str, Any], is_refused: bool
) -> None:
    simulator.fault(Fault(path="/api/tags", status=500, times=None))
    service = OllamaService(make_settings())
    request = CompletionRequest(
        path="/api/generate", model="llama3.1", content={"prompt": "Hi"}, response_format=schema
    )
    try:
        if is_refused:
            with pytest.raises(InvalidRequestError, match="This version of Ollama does not support"):
                await service.complete(request)
        else:
            await service.complete(request)
    finally:
        await service.disconnect()
    assert len(generations(simulator)) == (not is_refused)


async def test_an_invalid_schema_of_an_in_process_call_is_rejected(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    service = OllamaService(make_settings())
    request = CompletionRequest(
        path="/api/generate", model="llama3.1", content={"prompt": "Hi"}, response_format={"type": "banana"}
    )
    with pytest.raises(InvalidRequestError, match="not a usable JSON schema"):
        await service.complete(request)
    await service.disconnect()
    assert not generations(simulator)

"""openapi.json describes the service correctly."""

import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import jsonschema_rs
import pytest
from pydantic import TypeAdapter

from config import Settings
from main import create_app
from routers.openapi import examples, native_examples, response_examples
from routers.responses.problems import PROBLEMS_BY_CODE
from routers.schemas.health import Build, HealthResponse
from routers.schemas.ollama_responses import ChatResponse, EmbeddingsResponse, GenerateResponse, ModelsResponse
from routers.schemas.problem import Problem
from services.ollama.events import Event
from tests.api import openapi_document

NDJSON = {"Accept": "application/x-ndjson"}
REQUESTS = [
    pytest.param(path, example["value"], id=f"{path}-{name}")
    for path, named in {
        "generate": examples.GENERATE,
        "chat": examples.CHAT,
        "embeddings": examples.EMBEDDINGS,
    }.items()
    for name, example in named.items()
]
NATIVE_REQUESTS = [
    pytest.param(path, example["value"], id=f"{path}-{name}")
    for path, named in {
        "generate": native_examples.GENERATE,
        "chat": native_examples.CHAT,
        "embed": native_examples.EMBED,
        "embeddings": native_examples.EMBEDDINGS,
        "show": native_examples.SHOW,
    }.items()
    for name, example in named.items()
]
ANSWERS = [
    (GenerateResponse, response_examples.GENERATE_RESPONSES),
    (ChatResponse, response_examples.CHAT_RESPONSES),
    (EmbeddingsResponse, response_examples.EMBEDDINGS_RESPONSES),
    (ModelsResponse, response_examples.MODELS_RESPONSES),
    (HealthResponse, response_examples.HEALTHY | response_examples.DEGRADED),
    (Build, response_examples.VERSION),
]


def description(**values: Any) -> dict[str, Any]:
    return create_app(Settings(_env_file=None, **values)).openapi()


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    return openapi_document()


def operations(openapi: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in openapi["paths"].items():
        for operation in item.values():
            yield path, operation


@pytest.mark.parametrize(("path", "body"), REQUESTS)
async def test_an_example_request_can_be_sent_unchanged(
    path: str, body: dict[str, Any], url: str, client: aiohttp.ClientSession
) -> None:
    async with client.post(f"{url}/api/ollama/{path}", json=body) as response:
        assert response.status == 200, await response.text()
        if not body.get("stream"):
            assert (await response.json())["success"] is True


@pytest.mark.parametrize(("path", "body"), NATIVE_REQUESTS)
async def test_an_example_request_of_ollamas_own_api_can_be_sent_unchanged(
    path: str, body: dict[str, Any], url: str, client: aiohttp.ClientSession
) -> None:
    async with client.post(f"{url}/api/{path}", json=body) as response:
        assert response.status == 200, await response.text()


@pytest.mark.parametrize(("kind", "named"), ANSWERS, ids=lambda value: getattr(value, "__name__", ""))
def test_an_example_response_matches_its_schema(kind: type, named: dict[str, Any]) -> None:
    for example in named.values():
        TypeAdapter(kind).validate_json(json.dumps(example["value"]), strict=True, extra="forbid")


def test_an_example_stream_matches_its_schema() -> None:
    for example in response_examples.NDJSON.values():
        events = [json.loads(line) for line in example["value"].splitlines()]
        for event in events:
            fields = set(event) - {"type"}
            kinds = {kind.__dataclass_fields__["type"].default: kind for kind in Event.__args__}
            assert fields == set(kinds[event["type"]].__dataclass_fields__) - {"type"}
        assert events[0]["type"] == "start"
        assert events[-1]["type"] in {"done", "error"}


def test_every_operation_has_a_summary_description_and_examples(openapi: dict[str, Any]) -> None:
    for path, operation in operations(openapi):
        assert operation["summary"]
        assert len(operation["description"]) > 30, path
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        assert body is None or len(body["examples"]) >= 3


def test_every_field_of_a_request_is_described(openapi: dict[str, Any]) -> None:
    for name in ("GenerateRequest", "ChatRequest", "EmbeddingsRequest"):
        for field, schema in openapi["components"]["schemas"][name]["properties"].items():
            assert schema.get("description"), f"{name}.{field}"


def test_errors_are_documented_as_problem_documents(openapi: dict[str, Any]) -> None:
    assert not {"HTTPValidationError", "ValidationError"} & openapi["components"]["schemas"].keys()
    documented = set()
    for path, operation in operations(openapi):
        for status, response in operation["responses"].items():
            if not path.startswith("/api/ollama/") or status == "200":
                continue
            (media_type,) = response["content"]
            assert media_type == "application/problem+json"
            for code, example in response["content"][media_type]["examples"].items():
                assert PROBLEMS_BY_CODE[code][0] == int(status) == example["value"]["status"]
                Problem.model_validate(example["value"])
                documented.add(code)
    assert documented == PROBLEMS_BY_CODE.keys() - {
        "not_found",
        "method_not_allowed",
        "not_offered",
        "unsupported_parameter",
    }


def test_errors_of_ollamas_own_api_have_one_string(openapi: dict[str, Any]) -> None:
    native = [operation for _, operation in operations(openapi) if operation.get("tags") == ["native"]]
    assert len(native) == 8
    for operation in native:
        assert list(operation["responses"]) == ["200", "default"]
        schema = operation["responses"]["default"]["content"]["application/json"]["schema"]
        assert schema["required"] == ["error"]


def test_streams_are_documented_as_media_types(openapi: dict[str, Any]) -> None:
    for path in ("/api/ollama/generate", "/api/ollama/chat"):
        content = openapi["paths"][path]["post"]["responses"]["200"]["content"]
        assert list(content) == ["application/json", "text/event-stream", "application/x-ndjson", "text/plain"]
        assert all(form["examples"] for form in content.values())
    events = openapi["components"]["schemas"]["StreamEvent"]["discriminator"]["mapping"]
    assert set(events) == {"start", "thinking", "token", "tool_call", "done", "error"}


def test_a_stream_does_not_change_the_type_of_generated_clients(openapi: dict[str, Any]) -> None:
    values: list[object] = ["events", "text", "", 0, None, True, [], {}]
    values += [example["value"] for example in (response_examples.CHAT_RESPONSES | response_examples.SSE).values()]
    for path in ("/api/ollama/generate", "/api/ollama/chat"):
        whole, *streams = openapi["paths"][path]["post"]["responses"]["200"]["content"].values()
        assert set(whole) == {"schema", "examples"}
        for stream in streams:
            validator = jsonschema_rs.validator_for(stream["schema"])
            assert not any(map(validator.is_valid, values))


def test_a_stream_references_the_schema_of_its_events(openapi: dict[str, Any]) -> None:
    for path in ("/api/ollama/generate", "/api/ollama/chat"):
        content = openapi["paths"][path]["post"]["responses"]["200"]["content"]
        for media_type in ("text/event-stream", "application/x-ndjson"):
            assert content[media_type]["x-oai-itemSchema"] == {"$ref": "#/components/schemas/StreamEvent"}


async def test_a_tool_call_has_the_same_type_complete_and_streamed(
    openapi: dict[str, Any], url: str, client: aiohttp.ClientSession
) -> None:
    schemas = openapi["components"]["schemas"]
    reference = {"$ref": "#/components/schemas/ToolCall"}
    assert schemas["AssistantMessage"]["properties"]["tool_calls"]["anyOf"][0]["items"] == reference
    assert schemas["ToolCallEvent"]["properties"]["tool_call"] == reference
    validator = jsonschema_rs.validator_for(reference | {"components": openapi["components"]})
    body = examples.CHAT["tools"]["value"] | {"messages": [{"role": "user", "content": "Ask injury_status."}]}
    async with client.post(f"{url}/api/ollama/chat", json=body) as response:
        calls = (await response.json())["message"]["tool_calls"]
    async with client.post(f"{url}/api/ollama/chat", json=body | {"stream": True}, headers=NDJSON) as response:
        events = [json.loads(line) async for line in response.content]
    calls += [event["tool_call"] for event in events if event["type"] == "tool_call"]
    assert len(calls) == 2
    assert all(map(validator.is_valid, calls))
    assert validator.is_valid({"function": {"name": "f", "arguments": {}, "index": 0}})
    assert not validator.is_valid({"function": {"name": "f"}})
    assert not validator.is_valid({"id": "call_1"})


def test_every_reference_exists(openapi: dict[str, Any]) -> None:
    schemas = openapi["components"]["schemas"]
    text = json.dumps(openapi)
    refs = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert refs == schemas.keys()


def test_fields_with_defaults_are_optional_in_generated_clients(openapi: dict[str, Any]) -> None:
    schemas = openapi["components"]["schemas"]
    assert schemas["GenerateRequest"]["required"] == ["prompt"]
    assert "default" not in schemas["GenerateRequest"]["properties"]["stream"]
    assert openapi["paths"]["/api/ollama/generate"]["post"]["operationId"] == "generate"


def test_api_keys_are_documented_only_if_required() -> None:
    assert "securitySchemes" not in description()["components"]
    guarded = description(api_keys="correct-horse")
    assert set(guarded["components"]["securitySchemes"]) == {"Bearer", "X-API-Key"}
    for path, operation in operations(guarded):
        assert ("security" in operation) == path.startswith(("/api/", "/v1/", "/version"))
    assert "correct-horse" not in json.dumps(guarded)

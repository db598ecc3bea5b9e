"""What OpenAPI is told beside what FastAPI finds out by itself."""

from dataclasses import is_dataclass
from typing import Any, get_args

from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from routers.openapi import response_examples
from routers.responses.problems import MEDIA_TYPE, PROBLEMS_BY_CODE
from routers.schemas.problem import Problem
from services.ollama.events import Event

Responses = dict[int | str, dict[str, Any]]

SCHEMA_REF = "#/components/schemas/"
HTTP_METHODS = {"get", "post"}
BACK_OFF_STATUS = 503

DESCRIPTION = """\
Text, chat and embeddings from one Ollama server.

* **Start** with `POST /api/ollama/generate`: choose an example, send it from `/docs`.
* **A conversation**, tools or roles: `POST /api/ollama/chat`. **Vectors** for search: `POST /api/ollama/embeddings`.
* **Streams**: `"stream": true`, and the form as `Accept`: `text/event-stream`, `application/x-ndjson` or plain text.
* **Which model answered** stands in `model` and in the header `X-Model`: where the wanted one is not installed, \
`DEFAULT_MODEL` answers, unless the request says `"fallback": false`.
* **OpenAI's clients** work with the base URL `/v1`: `POST /v1/chat/completions`, `POST /v1/embeddings`.
* **Ollama's clients** work with this service as their host: `POST /api/chat`, `GET /api/tags` and so on.
* **Failures** are problem documents (RFC 9457): `detail` is a sentence for people, `code` is for programs, \
`retryable` says whether sending the request again is safe, `request_id` (as the header `X-Request-ID`) finds it in \
the log.
"""
TAGS = [
    {"name": "ollama", "description": "Models, text, conversations, vectors."},
    {"name": "openai", "description": "The same models by OpenAI's API, for its clients: base URL `/v1`."},
    {"name": "native", "description": "Ollama's own API, for its clients: requests and answers pass as they are."},
    {"name": "health", "description": "Probes, which need no API key, and what runs."},
]
SECURITY_SCHEMES = {
    "Bearer": {"type": "http", "scheme": "bearer", "description": "One of `API_KEYS`."},
    "X-API-Key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "One of `API_KEYS`."},
}
MODEL_HEADERS = {
    "X-Model": {"description": "The model that answered.", "schema": {"type": "string"}},
    "X-Model-Fallback": {
        "description": "Whether it answered in place of the one that was asked for.",
        "schema": {"type": "string", "enum": ["true", "false"]},
    },
}
RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
REQUEST_ID = {
    "X-Request-ID": {
        "description": "The one that the request came with, else a new one; every response has it.",
        "schema": {"type": "string"},
    }
}
# A schema that no value satisfies: client generators type a response as the union of all its media types, and a stream
# must add nothing to that of JSON. openapi-typescript makes `never` of this one, `unknown` of `false` and `not: {}`.
NO_JSON_VALUE = {
    "description": "A stream has no JSON value: read its body piece by piece.",
    "allOf": [{"const": "events"}, {"const": "text"}],
}
# OpenAPI 3.2's `itemSchema`, under the name that is registered for 3.1, which allows no unknown fields here.
STREAM_EVENTS = {"schema": NO_JSON_VALUE, "x-oai-itemSchema": {"$ref": f"{SCHEMA_REF}StreamEvent"}}


def operation_id(route: APIRoute) -> str:
    """Return the name that generated clients give an operation."""
    return route.name


def success_response(description: str, named: dict[str, Any], headers: dict[str, Any] | None = None) -> Responses:
    """Return the description of an endpoint's success."""
    content = {"application/json": {"examples": named}}
    return {200: {"description": description, "headers": headers or {}, "content": content}}


def stream_response(named: dict[str, Any]) -> Responses:
    """Return the description of an endpoint's success, whole or as one of the streams."""
    description = (
        "Whole, as JSON. With `stream: true` as it is written, in the form that `Accept` names: "
        "Server-Sent Events (each `data` is a `StreamEvent`), NDJSON (each line is one), or the text alone. "
        "A stream of events ends with `done` or `error`; a text that fails is cut off."
    )
    responses = success_response(description, named, MODEL_HEADERS)
    responses[200]["content"] |= {
        "text/event-stream": STREAM_EVENTS | {"examples": response_examples.SSE},
        "application/x-ndjson": STREAM_EVENTS | {"examples": response_examples.NDJSON},
        "text/plain": {"schema": NO_JSON_VALUE, "examples": response_examples.TEXT},
    }
    return responses


def problems(*codes: str) -> Responses:
    """Return the description of these problem documents, by status."""
    responses: Responses = {}
    for code in codes:
        status, title = PROBLEMS_BY_CODE[code]
        content: dict[str, Any] = {"schema": {"$ref": f"{SCHEMA_REF}Problem"}, "examples": {}}
        response = responses.setdefault(status, {"description": "", "content": {MEDIA_TYPE: content}})
        response["description"] = "; ".join(filter(None, [response["description"], f"`{code}`: {title}"]))
        response["content"][MEDIA_TYPE]["examples"][code] = {"summary": title, "value": problem_example(code)}
        if status == BACK_OFF_STATUS:
            response["headers"] = RETRY_AFTER
    return responses


def problem_example(code: str) -> dict[str, Any]:
    """Return a problem document as it may be answered."""
    status, title = PROBLEMS_BY_CODE[code]
    members = {"detail": title, "code": code, "retryable": False, "request_id": response_examples.REQUEST_ID}
    head = {"success": False, "type": f"urn:problem:{code}", "title": title, "status": status}
    return head | members | response_examples.PROBLEMS.get(code, {})


def complete_schema(schema: dict[str, Any], *, has_keys: bool) -> dict[str, Any]:
    """Add what no endpoint's signature tells: problem documents, stream events, the request id, the API keys."""
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas |= _shared_schemas()
    for model in schemas.values():
        for field in model.get("properties", {}).values():
            # generated clients read a default as "always there", in requests too
            field.pop("default", None)
    if has_keys:
        components["securitySchemes"] = SECURITY_SCHEMES
    for path, item in schema["paths"].items():
        for method in HTTP_METHODS & item.keys():
            success = item[method]["responses"]["200"]
            success["headers"] = success.get("headers", {}) | REQUEST_ID
            if has_keys and path.startswith(("/api/", "/v1/", "/version")):
                item[method]["security"] = [{name: []} for name in SECURITY_SCHEMES]
    return schema


def _shared_schemas() -> dict[str, Any]:
    problem = Problem.model_json_schema(ref_template=f"{SCHEMA_REF}{{model}}")
    schemas: dict[str, Any] = {"Problem": problem}
    names = {}
    for event in get_args(Event):
        assert is_dataclass(event)  # noqa: S101 - tells the type checker what the union holds
        schema = TypeAdapter(event).json_schema(ref_template=f"{SCHEMA_REF}{{model}}", mode="serialization")
        schemas |= schema.pop("$defs", {})
        names[schema["properties"]["type"]["const"]] = name = f"{schema['title']}Event"
        # dataclasses write all their fields
        schemas[name] = schema | {"title": name, "required": list(schema["properties"])}
    schemas["ToolCallEvent"]["properties"]["tool_call"] = {"$ref": f"{SCHEMA_REF}ToolCall"}
    for with_code in (problem, schemas["ErrorEvent"]):
        with_code["properties"]["code"]["enum"] = list(PROBLEMS_BY_CODE)
    refs = {kind: f"{SCHEMA_REF}{name}" for kind, name in names.items()}
    schemas["StreamEvent"] = {
        "title": "StreamEvent",
        "description": "One event of a stream; `type` tells which.",
        "oneOf": [{"$ref": ref} for ref in refs.values()],
        "discriminator": {"propertyName": "type", "mapping": refs},
    }
    return schemas

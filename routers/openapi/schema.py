"""OpenAPI additions that FastAPI cannot infer."""

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

* **Text**: `POST /api/ollama/generate`. To try it, select an example in `/docs` and execute it.
* **Conversations**, with roles and tools: `POST /api/ollama/chat`. **Embeddings**: `POST /api/ollama/embeddings`.
* **Streams**: send `"stream": true`, and `Accept` with `text/event-stream`, `application/x-ndjson` or `text/plain`.
* **Fallback**: `DEFAULT_MODEL` replaces a model that is not installed or fails to load, unless the request has \
`"fallback": false`. `model` and the header `X-Model` name the model that responded.
* **OpenAI's clients** use the base URL `/v1`: `POST /v1/chat/completions`, `POST /v1/embeddings`.
* **Ollama's clients** use this service as their host: `POST /api/chat`, `GET /api/tags` and so on.
* **Errors** are problem documents (RFC 9457): `detail` is a message for people, `code` is for programs, `retryable` \
tells whether sending the request again is safe, and `request_id` (also the header `X-Request-ID`) identifies the \
request in the log.
"""
TAGS = [
    {"name": "ollama", "description": "Models, text generation, chat and embeddings."},
    {"name": "openai", "description": "OpenAI's API, for its clients with the base URL `/v1`."},
    {"name": "native", "description": "Ollama's own API, for its clients: requests and responses pass unchanged."},
    {"name": "health", "description": "Health probes, which require no API key, and versions."},
]
SECURITY_SCHEMES = {
    "Bearer": {"type": "http", "scheme": "bearer", "description": "One of `API_KEYS`."},
    "X-API-Key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "One of `API_KEYS`."},
}
MODEL_HEADERS = {
    "X-Model": {"description": "The model that responded.", "schema": {"type": "string"}},
    "X-Model-Fallback": {
        "description": "Whether it replaced the requested model.",
        "schema": {"type": "string", "enum": ["true", "false"]},
    },
}
COMPLETION_HEADERS = MODEL_HEADERS | {
    "X-Prompt-Truncated": {
        "required": False,
        "description": "`true` if the prompt was longer than the context and Ollama cut it; otherwise absent.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}
RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait before a retry.", "schema": {"type": "integer"}}}
REQUEST_ID = {
    "X-Request-ID": {
        "description": "The valid `X-Request-ID` of the request, otherwise a new one; every response has it.",
        "schema": {"type": "string"},
    }
}
# A schema that no value satisfies: client generators type a response as the union of all its media types, and streams
# must not add to the type of JSON. openapi-typescript turns this schema into `never`, but `false` and `not: {}` into
# `unknown`.
NO_JSON_VALUE = {
    "description": "A stream is not a JSON value: read the body incrementally.",
    "allOf": [{"const": "events"}, {"const": "text"}],
}
# `itemSchema` of OpenAPI 3.2, under the extension name registered for 3.1, which allows no unknown fields here.
STREAM_EVENTS = {"schema": NO_JSON_VALUE, "x-oai-itemSchema": {"$ref": f"{SCHEMA_REF}StreamEvent"}}


def operation_id(route: APIRoute) -> str:
    """Return the operation id, which generated clients use as a method name."""
    return route.name


def success_response(description: str, examples: dict[str, Any], headers: dict[str, Any] | None = None) -> Responses:
    """Describe the success response of an endpoint."""
    content = {"application/json": {"examples": examples}}
    return {200: {"description": description, "headers": headers or {}, "content": content}}


def stream_response(examples: dict[str, Any]) -> Responses:
    """Describe the success response of an endpoint: complete JSON, or a stream."""
    description = (
        "A complete response as JSON. With `stream: true`, a stream in the format that `Accept` names: "
        "Server-Sent Events (each `data` is a `StreamEvent`), NDJSON (each line is a `StreamEvent`), or the text only. "
        "A stream of events ends with `done` or `error`; an error in a text stream closes the connection."
    )
    responses = success_response(description, examples, COMPLETION_HEADERS)
    responses[200]["content"] |= {
        "text/event-stream": STREAM_EVENTS | {"examples": response_examples.SSE},
        "application/x-ndjson": STREAM_EVENTS | {"examples": response_examples.NDJSON},
        "text/plain": {"schema": NO_JSON_VALUE, "examples": response_examples.TEXT},
    }
    return responses


def problems(*codes: str) -> Responses:
    """Describe problem documents with these codes, by status."""
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
    """Return an example of a problem document."""
    status, title = PROBLEMS_BY_CODE[code]
    members = {"detail": title, "code": code, "retryable": False, "request_id": response_examples.REQUEST_ID}
    head = {"success": False, "type": f"urn:problem:{code}", "title": title, "status": status}
    return head | members | response_examples.PROBLEMS.get(code, {})


def complete_schema(schema: dict[str, Any], *, has_keys: bool) -> dict[str, Any]:
    """Add problem documents, stream events, the request id and API keys, which signatures do not have."""
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas |= _shared_schemas()
    for model in schemas.values():
        for field in model.get("properties", {}).values():
            # generated clients treat a field with a default as always present, in requests too
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
        assert is_dataclass(event)  # noqa: S101 - for the type checker
        schema = TypeAdapter(event).json_schema(ref_template=f"{SCHEMA_REF}{{model}}", mode="serialization")
        schemas |= schema.pop("$defs", {})
        names[schema["properties"]["type"]["const"]] = name = f"{schema['title']}Event"
        # dataclasses always have all fields
        schemas[name] = schema | {"title": name, "required": list(schema["properties"])}
    schemas["ToolCallEvent"]["properties"]["tool_call"] = {"$ref": f"{SCHEMA_REF}ToolCall"}
    for with_code in (problem, schemas["ErrorEvent"]):
        with_code["properties"]["code"]["enum"] = list(PROBLEMS_BY_CODE)
    refs = {kind: f"{SCHEMA_REF}{name}" for kind, name in names.items()}
    schemas["StreamEvent"] = {
        "title": "StreamEvent",
        "description": "An event of a stream, of the kind that `type` names.",
        "oneOf": [{"$ref": ref} for ref in refs.values()],
        "discriminator": {"propertyName": "type", "mapping": refs},
    }
    return schemas

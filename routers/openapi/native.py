"""OpenAPI descriptions of Ollama's own API, whose bodies are not parsed and have no models."""

from typing import Any

from routers.openapi.example import Examples
from routers.openapi.schema import Responses

NDJSON = "application/x-ndjson"
TEXTS: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
FIELDS: dict[str, dict[str, Any]] = {
    "chat": {"model": {"type": "string"}, "messages": {"type": "array", "items": {"type": "object"}}},
    "generate": {"model": {"type": "string"}, "prompt": {"type": "string"}},
    "embed": {"model": {"type": "string"}, "input": {"anyOf": [{"type": "string"}, TEXTS]}},
    "embeddings": {"model": {"type": "string"}, "prompt": {"type": "string"}},
    "show": {"model": {"type": "string"}},
}
ERROR: dict[str, Any] = {
    "type": "object",
    "title": "OllamaError",
    "required": ["error"],
    "properties": {"error": {"type": "string"}},
}
FAILURES: Responses = {
    "default": {
        "description": "An error of Ollama, unchanged, or an error of the service, with the same status as under "
        "`/api/ollama`.",
        "content": {"application/json": {"schema": ERROR, "example": {"error": "model 'llama9' not found"}}},
    }
}


def request_body(name: str, examples: Examples) -> dict[str, Any]:
    """Describe a request body that is sent to Ollama unchanged."""
    schema = {"type": "object", "required": ["model"], "properties": FIELDS[name]}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "examples": examples}}}
    }


def json_response(example: Any) -> Responses:
    """Describe a JSON response of Ollama and errors."""
    content = {"application/json": {"schema": {"type": "object"}, "example": example}}
    return {200: {"description": "Ollama's response, unchanged.", "content": content}, **FAILURES}


def stream_response(example: dict[str, Any]) -> Responses:
    """Describe a response that is a stream unless `stream` is false."""
    responses = json_response(example)
    last = '{"model":"llama3.1","created_at":"2026-03-02T09:45:00Z","done":true,"done_reason":"stop"}\n'
    responses[200]["content"] |= {NDJSON: {"schema": {"type": "string"}, "example": last}}
    return responses

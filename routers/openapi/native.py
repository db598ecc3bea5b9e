"""What `/docs` says of Ollama's own API: bodies that pass unread have no schema of ours."""

from typing import Any

from routers.openapi.example import Examples

Responses = dict[int | str, dict[str, Any]]

NDJSON = "application/x-ndjson"
FIELDS: dict[str, dict[str, Any]] = {
    "chat": {"model": {"type": "string"}, "messages": {"type": "array", "items": {"type": "object"}}},
    "generate": {"model": {"type": "string"}, "prompt": {"type": "string"}},
    "embed": {"model": {"type": "string"}, "input": {"anyOf": [{"type": "string"}, {"type": "array"}]}},
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
        "description": "A failure: Ollama's own as it came, or one of the service with the status that the same "
        "failure has under `/api/ollama`.",
        "content": {"application/json": {"schema": ERROR, "example": {"error": "model 'llama9' not found"}}},
    }
}


def request_body(name: str, named: Examples) -> dict[str, Any]:
    """Return the description of a body that goes on to Ollama as it is."""
    schema = {"type": "object", "required": ["model"], "properties": FIELDS[name]}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "examples": named}}}}


def json_response(answer: Any) -> Responses:
    """Return the description of Ollama's answer and of failures."""
    content = {"application/json": {"schema": {"type": "object"}, "example": answer}}
    return {200: {"description": "Ollama's answer, byte for byte.", "content": content}, **FAILURES}


def stream_response(answer: dict[str, Any]) -> Responses:
    """Return the description of an answer that is streamed unless it is asked for whole."""
    responses = json_response(answer)
    last = '{"model":"llama3.1","created_at":"2026-03-02T09:45:00Z","done":true,"done_reason":"stop"}\n'
    responses[200]["content"] |= {NDJSON: {"schema": {"type": "string"}, "example": last}}
    return responses

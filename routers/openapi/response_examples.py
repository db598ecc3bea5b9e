"""Example responses for `/docs`."""

from typing import Any

from routers.openapi.example import Examples, named_example

REQUEST_ID = "5f1c9f0a8e4b4f6f9d0c2b7a6e3d1f00"
USAGE = {"prompt_tokens": 31, "completion_tokens": 14, "total_tokens": 45, "context_length": 4096}
TIMINGS = {
    "total_ms": 842.117,
    "load_ms": 61.204,
    "prompt_ms": 118.93,
    "completion_ms": 655.4,
    "tokens_per_second": 21.36,
}
HEADLINE = "Three Running Backs to Grab Before Tuesday's Waivers Run"

_RESPONSE: dict[str, Any] = {
    "success": True,
    "response": HEADLINE,
    "model": "gpt-oss",
    "requested_model": "gpt-oss",
    "fallback": False,
    "thinking": None,
    "done_reason": "stop",
    "usage": USAGE,
    "timings": TIMINGS,
    "warnings": [],
}
_FALLBACK = _RESPONSE | {"requested_model": "llama3.1", "fallback": True, "warnings": ["fallback_model"]}
_CALL = {"function": {"name": "injury_status", "arguments": {"player": "Saquon Barkley"}}}


def _chat_response(response: dict[str, Any], tool_calls: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    message = {"role": "assistant", "content": response["response"], "thinking": None, "tool_calls": tool_calls}
    return response | {"message": message}


GENERATE_RESPONSES: Examples = {
    "answer": named_example("The requested model responded", _RESPONSE),
    "fallback": named_example("The fallback model responded", _FALLBACK, "`llama3.1` is not installed."),
}
CHAT_RESPONSES: Examples = {
    "answer": named_example("The requested model responded", _chat_response(_RESPONSE)),
    "fallback": named_example(
        "The fallback model responded", _chat_response(_FALLBACK), "`llama3.1` is not installed."
    ),
    "tool_call": named_example("The model calls a function", _chat_response(_RESPONSE | {"response": ""}, [_CALL])),
}
_VECTOR = [0.1826, -0.3651, 0.5477, 0.7303]
EMBEDDINGS_RESPONSES: Examples = {
    "one": named_example(
        "One text: a single vector",
        {
            "success": True,
            "embeddings": _VECTOR,
            "dimension": 4,
            "model": "nomic-embed-text",
            "prefix": None,
            "usage": {"prompt_tokens": 9},
            "warnings": [],
        },
    ),
    "two": named_example(
        "A list of documents: a list of vectors",
        {
            "success": True,
            "embeddings": [_VECTOR, [0.5, 0.5, -0.5, 0.5]],
            "dimension": 4,
            "model": "nomic-embed-text",
            "prefix": "search_document: ",
            "usage": {"prompt_tokens": 15},
            "warnings": [],
        },
    ),
}
MODELS_RESPONSES: Examples = {
    "models": named_example(
        "The installed models",
        {
            "success": True,
            "models": [
                {
                    "name": "gpt-oss",
                    "model": "gpt-oss:latest",
                    "size": 13_793_441_244,
                    "modified_at": "2026-03-02T09:41:17.518Z",
                    "digest": "17052f91a42e97930aa6e28a6c6c06a983e6a58dbb00434885a0cf5313e376f7",
                    "details": {"family": "gptoss", "parameter_size": "20.9B", "quantization_level": "MXFP4"},
                    "capabilities": ["completion", "tools", "thinking"],
                }
            ],
            "cached": True,
            "stale": False,
            "age_seconds": 12.4,
        },
    )
}
MODEL_DETAILS_RESPONSES: Examples = {
    "embedding": named_example(
        "An embedding model that is loaded",
        {
            "success": True,
            "name": "nomic-embed-text",
            "model": "nomic-embed-text:latest",
            "size": 274_302_450,
            "modified_at": "2026-03-02T09:41:17.518Z",
            "digest": "0a109f422b47e3a30ba2b10eca18548e944e8a23073ee3f3e947efcf3c45e59f",
            "family": "nomic-bert",
            "parameter_size": "137M",
            "quantization_level": "F16",
            "context_length": 2048,
            "embedding_length": 768,
            "capabilities": ["embedding"],
            "loaded": True,
            "expires_at": "2026-03-02T09:50:00.118Z",
            "loaded_context_length": 2048,
            "size_vram": 0,
            "prefixes": {
                "query": "search_query: ",
                "document": "search_document: ",
                "classification": "classification: ",
                "clustering": "clustering: ",
            },
        },
    ),
}
_BUILD: dict[str, Any] = {
    "version": "0.1.0",
    "commit": "5a884d5",
    "python": "3.13.1",
    "libraries": {"aiohttp": "3.14.5", "fastapi": "0.165.0", "uvicorn": "0.54.0"},
}
VERSION = {"version": named_example("Versions", _BUILD)}
_HEALTHY: dict[str, Any] = {
    "status": "healthy",
    "services": {"ollama": "up", "weaviate": "up", "crewai_agents": "initialized"},
    "ollama": {
        "version": "0.12.6",
        "latency_ms": 1.8,
        "models": {"gpt-oss": True, "llama3.1": False, "nomic-embed-text": True},
        "running": 2,
        "queued": 0,
        "last_success_at": "2026-03-02T09:44:58.412+00:00",
        "last_failure_at": None,
        "last_failure_code": None,
        "stuck_models": [],
    },
    "build": _BUILD,
    "checked_at": "2026-03-02T09:45:00.000+00:00",
}
HEALTHY: Examples = {
    "healthy": named_example("Everything is up", _HEALTHY, "`llama3.1` is configured but not installed.")
}
DEGRADED: Examples = {
    "degraded": named_example(
        "Ollama is down, and the agents are not there yet",
        _HEALTHY
        | {
            "status": "degraded",
            "services": {"ollama": "down", "weaviate": "up", "crewai_agents": "not_initialized"},
            "ollama": _HEALTHY["ollama"]
            | {
                "version": None,
                "latency_ms": None,
                "running": 0,
                "last_failure_at": "2026-03-02T09:44:59.730+00:00",
                "last_failure_code": "ollama_unavailable",
            },
        },
    )
}

_START = (
    f'{{"type":"start","model":"gpt-oss","requested_model":"gpt-oss","fallback":false,"request_id":"{REQUEST_ID}"}}'
)
_TOKENS = ('{"type":"token","text":"Three Running"}', '{"type":"token","text":" Backs to Grab"}')
_DONE = (
    '{"type":"done","done_reason":"stop",'
    '"usage":{"prompt_tokens":31,"completion_tokens":14,"total_tokens":45},'
    '"timings":{"total_ms":842.117,"load_ms":61.204,"prompt_ms":118.93,"completion_ms":655.4,"tokens_per_second":21.36},'
    '"warnings":[]}'
)
_ERROR = (
    '{"type":"error","code":"timeout","detail":"Ollama took longer than 60 s for the next chunk '
    '(OLLAMA_STREAM_IDLE_TIMEOUT).","retryable":false}'
)
_WHOLE = (("start", _START), *(("token", token) for token in _TOKENS), ("done", _DONE))
_BROKEN = (("start", _START), ("token", _TOKENS[0]), ("error", _ERROR))


def _sse(events: tuple[tuple[str, str], ...]) -> str:
    return "".join(f"event: {name}\ndata: {data}\n\n" for name, data in events)


def _ndjson(events: tuple[tuple[str, str], ...]) -> str:
    return "".join(f"{data}\n" for _, data in events)


SSE: Examples = {
    "whole": named_example("A complete stream", _sse(_WHOLE)),
    "broken": named_example("A stream that fails", _sse(_BROKEN)),
}
NDJSON: Examples = {
    "whole": named_example("A complete stream", _ndjson(_WHOLE)),
    "broken": named_example("A stream that fails", _ndjson(_BROKEN)),
}
TEXT: Examples = {"text": named_example("The text only", HEADLINE)}

PROBLEMS: dict[str, dict[str, Any]] = {
    "invalid_request": {
        "detail": "temperature: Input should be less than or equal to 2",
        "errors": [{"field": "temperature", "message": "Input should be less than or equal to 2"}],
    },
    "model_not_found": {
        "detail": "The model 'llama9' is not installed. `ollama pull llama9` installs it.",
        "available": ["gpt-oss", "nomic-embed-text"],
    },
    "rejected_by_ollama": {"detail": "Ollama rejected the request: the input length exceeds the context length"},
    "unsupported_by_model": {
        "detail": "The model 'llama3.1' cannot think before it answers: it does not support thinking; 'gpt-oss' does.",
        "errors": [
            {
                "field": "think",
                "message": "The model 'llama3.1' cannot think before it answers: it does not support thinking; "
                "'gpt-oss' does.",
            }
        ],
    },
    "ollama_unavailable": {"detail": "Ollama could not be reached.", "retryable": True},
    "ollama_busy": {
        "detail": "Ollama is busy and accepts no more requests at the moment: server busy, please try again.",
        "retryable": True,
    },
    "model_stuck": {
        "detail": "The model 'llama3.1' hangs: it is loaded and does not respond.",
        "retryable": True,
    },
    "overloaded": {"detail": "No slot became free within 30 s (OLLAMA_QUEUE_TIMEOUT).", "retryable": True},
    "shutting_down": {"detail": "The service is shutting down; try again in a moment.", "retryable": True},
    "timeout": {"detail": "Ollama took longer than 300 s for its response (OLLAMA_REQUEST_TIMEOUT)."},
    "ollama_error": {"detail": "Ollama's response was cut short."},
    "unauthorized": {"detail": "This call needs an API key, as `Authorization: Bearer` or `X-API-Key`."},
    "host_not_allowed": {"detail": "The host name of this request is not allowed (ALLOWED_HOSTS)."},
    "payload_too_large": {"detail": "The body is larger than 20971520 bytes (MAX_REQUEST_BYTES)."},
    "internal_error": {"detail": "The service failed; see its log for the reason."},
}
"""Example members of problem documents, by code."""

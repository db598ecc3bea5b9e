"""Example responses for `/docs`."""

from routers.openapi.example import Named, named_example

REQUEST_ID = "5f1c9f0a8e4b4f6f9d0c2b7a6e3d1f00"
USAGE = {"prompt_tokens": 31, "completion_tokens": 14, "total_tokens": 45}
TIMINGS = {
    "total_ms": 842.117,
    "load_ms": 61.204,
    "prompt_ms": 118.93,
    "completion_ms": 655.4,
    "tokens_per_second": 21.36,
}
HEADLINE = "Three Running Backs to Grab Before Tuesday's Waivers Run"

_ANSWER: Named = {
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
_FALLBACK = _ANSWER | {"requested_model": "llama3.1", "fallback": True, "warnings": ["fallback_model"]}
_CALL = {"function": {"name": "injury_status", "arguments": {"player": "Saquon Barkley"}}}


def _said(answer: Named, tool_calls: list[Named] | None = None) -> Named:
    message = {"role": "assistant", "content": answer["response"], "thinking": None, "tool_calls": tool_calls}
    return answer | {"message": message}


GENERATE_ANSWERS: Named = {
    "answer": named_example("The model answered", _ANSWER),
    "fallback": named_example("Another model answered", _FALLBACK, "`llama3.1` is not installed."),
}
CHAT_ANSWERS: Named = {
    "answer": named_example("The model answered", _said(_ANSWER)),
    "fallback": named_example("Another model answered", _said(_FALLBACK), "`llama3.1` is not installed."),
    "tool_call": named_example("The model wants a function called", _said(_ANSWER | {"response": ""}, [_CALL])),
}
_VECTOR = [0.1826, -0.3651, 0.5477, 0.7303]
EMBEDDINGS_ANSWERS: Named = {
    "one": named_example(
        "For a text: one flat vector",
        {
            "success": True,
            "embeddings": _VECTOR,
            "dimension": 4,
            "model": "nomic-embed-text",
            "usage": {"prompt_tokens": 9},
        },
    ),
    "two": named_example(
        "For a list: a list of vectors",
        {
            "success": True,
            "embeddings": [_VECTOR, [0.5, 0.5, -0.5, 0.5]],
            "dimension": 4,
            "model": "nomic-embed-text",
            "usage": {"prompt_tokens": 15},
        },
    ),
}
MODELS_ANSWERS: Named = {
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
_HEALTHY: Named = {
    "status": "healthy",
    "services": {"ollama": "up"},
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
    "checked_at": "2026-03-02T09:45:00.000+00:00",
}
HEALTHY: Named = {"healthy": named_example("All is well", _HEALTHY, "`llama3.1` is configured and not installed.")}
DEGRADED: Named = {
    "degraded": named_example(
        "Ollama is down",
        _HEALTHY
        | {
            "status": "degraded",
            "services": {"ollama": "down"},
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


SSE: Named = {
    "whole": named_example("An answer", _sse(_WHOLE)),
    "broken": named_example("An answer that broke off", _sse(_BROKEN)),
}
NDJSON: Named = {
    "whole": named_example("An answer", _ndjson(_WHOLE)),
    "broken": named_example("An answer that broke off", _ndjson(_BROKEN)),
}
TEXT: Named = {"text": named_example("The text alone", HEADLINE)}

PROBLEMS: dict[str, Named] = {
    "invalid_request": {
        "detail": "temperature: Input should be less than or equal to 2",
        "errors": [{"field": "temperature", "message": "Input should be less than or equal to 2"}],
    },
    "model_not_found": {
        "detail": "The model 'llama9' is not installed. `ollama pull llama9` installs it.",
        "available": ["gpt-oss", "nomic-embed-text"],
    },
    "rejected_by_ollama": {"detail": 'Ollama refused the request: "llama3.1" does not support thinking'},
    "ollama_unavailable": {"detail": "Ollama could not be reached.", "retryable": True},
    "ollama_busy": {
        "detail": "Ollama is busy and takes no more requests at the moment: server busy, please try again.",
        "retryable": True,
    },
    "model_stuck": {
        "detail": "The model 'llama3.1' hangs: it is loaded and does not answer.",
        "retryable": True,
    },
    "overloaded": {"detail": "No slot became free within 30 s (OLLAMA_QUEUE_TIMEOUT).", "retryable": True},
    "shutting_down": {"detail": "The service is ending; ask again in a moment.", "retryable": True},
    "timeout": {"detail": "Ollama took longer than 300 s for its answer (OLLAMA_REQUEST_TIMEOUT)."},
    "ollama_error": {"detail": "Ollama's answer was cut short."},
    "unauthorized": {"detail": "This call needs an API key, as `Authorization: Bearer` or `X-API-Key`."},
    "host_not_allowed": {
        "detail": "The service does not answer to the host name that this request was sent to (ALLOWED_HOSTS)."
    },
    "payload_too_large": {"detail": "The body is larger than 20971520 bytes (MAX_REQUEST_BYTES)."},
    "internal_error": {"detail": "The service failed; its log says why."},
}
"""What each problem document says beside the members that follow from its code."""

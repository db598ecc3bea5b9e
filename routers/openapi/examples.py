"""Requests that can be sent as they stand, and what such requests are answered with."""

from typing import Any, TypedDict

Named = dict[str, Any]


class Example(TypedDict):
    """A named example of OpenAPI's."""

    summary: str
    description: str
    value: Any


REQUEST_ID = "5f1c9f0a8e4b4f6f9d0c2b7a6e3d1f00"
HEADLINE_SCHEMA = {
    "type": "object",
    "properties": {
        "headline": {"type": "string"},
        "players": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["headline", "players"],
    "additionalProperties": False,
}
USAGE = {"prompt_tokens": 31, "completion_tokens": 14, "total_tokens": 45}
TIMINGS = {
    "total_ms": 842.117,
    "load_ms": 61.204,
    "prompt_ms": 118.93,
    "completion_ms": 655.4,
    "tokens_per_second": 21.36,
}
HEADLINE = "Three Running Backs to Grab Before Tuesday's Waivers Run"


def _example(summary: str, value: Any, description: str = "") -> Example:
    return {"summary": summary, "description": description, "value": value}


GENERATE: Named = {
    "headline": _example(
        "A fantasy-football headline",
        {"prompt": "Write one headline about this week's fantasy-football waiver wire.", "max_tokens": 400},
    ),
    "stream": _example(
        "Stream it",
        {"prompt": "Explain in two sentences why a running back's snap share matters.", "stream": True},
        "Choose the form of the stream as the media type of the answer: it is sent as `Accept`.",
    ),
    "structured": _example(
        "Structured output with a JSON schema",
        {
            "model": "llama3.1",
            "prompt": "Write a headline about Josh Allen and Stefon Diggs; list the players it names.",
            "format": HEADLINE_SCHEMA,
            "temperature": 0,
        },
        "`response` is JSON text that satisfies the schema; if it does not, `warnings` says `invalid_json`.",
    ),
    "voice": _example(
        "A voice of its own, repeatable",
        {
            "model": "llama3.1",
            "system": "You are a dry British sports writer. Answer in one sentence.",
            "prompt": "Sum up a 3-3 draw.",
            "temperature": 0.9,
            "seed": 7,
            "stop": ["\n\n"],
        },
        "`QUALITY_MODEL` writes; without it `DEFAULT_MODEL` does, and the answer says so.",
    ),
}

CHAT: Named = {
    "conversation": _example(
        "A conversation with history",
        {
            "messages": [
                {"role": "system", "content": "You help fantasy-football managers. Be brief."},
                {"role": "user", "content": "Who should I start, Kyren Williams or Rachaad White?"},
                {"role": "assistant", "content": "Williams: more snaps and goal-line work."},
                {"role": "user", "content": "And if it rains?"},
            ],
        },
    ),
    "stream": _example(
        "Stream it",
        {"messages": [{"role": "user", "content": "Preview the Bills' next game in four sentences."}], "stream": True},
        "Choose the form of the stream as the media type of the answer: it is sent as `Accept`.",
    ),
    "structured": _example(
        "Structured output with a JSON schema",
        {
            "messages": [{"role": "user", "content": "A headline about the Bills, with the players it names."}],
            "format": HEADLINE_SCHEMA,
            "temperature": 0,
        },
    ),
    "tools": _example(
        "Let it call a function",
        {
            "messages": [{"role": "user", "content": "Is Saquon Barkley fit to play on Sunday?"}],
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": "injury_status",
                        "description": "Look up a player's injury status.",
                        "parameters": {
                            "type": "object",
                            "properties": {"player": {"type": "string"}},
                            "required": ["player"],
                        },
                    },
                }
            ],
        },
        "`message.tool_calls` names the call; send its result back as a message with the role `tool`.",
    ),
}

EMBEDDINGS: Named = {
    "one": _example("Embed a text", {"text": "The quarterback threw for three touchdowns."}),
    "two": _example(
        "Embed two texts",
        {"text": ["The quarterback threw for three touchdowns.", "Three touchdown passes on Sunday."]},
        "The vectors have unit length: their dot product is the cosine similarity.",
    ),
    "short": _example(
        "Vectors of 256 numbers",
        {"text": "The running back is out with an ankle injury.", "dimensions": 256},
        "For models that were trained for it; it saves room in a vector database.",
    ),
}

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
    "answer": _example("The model answered", _ANSWER),
    "fallback": _example("Another model answered", _FALLBACK, "`llama3.1` is not installed."),
}
CHAT_ANSWERS: Named = {
    "answer": _example("The model answered", _said(_ANSWER)),
    "fallback": _example("Another model answered", _said(_FALLBACK), "`llama3.1` is not installed."),
    "tool_call": _example("The model wants a function called", _said(_ANSWER | {"response": ""}, [_CALL])),
}
_VECTOR = [0.1826, -0.3651, 0.5477, 0.7303]
EMBEDDINGS_ANSWERS: Named = {
    "one": _example(
        "For a text: one flat vector",
        {
            "success": True,
            "embeddings": _VECTOR,
            "dimension": 4,
            "model": "nomic-embed-text",
            "usage": {"prompt_tokens": 9},
        },
    ),
    "two": _example(
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
    "models": _example(
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
    },
    "checked_at": "2026-03-02T09:45:00.000+00:00",
}
HEALTHY: Named = {"healthy": _example("All is well", _HEALTHY, "`llama3.1` is configured and not installed.")}
DEGRADED: Named = {
    "degraded": _example(
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
    "whole": _example("An answer", _sse(_WHOLE)),
    "broken": _example("An answer that broke off", _sse(_BROKEN)),
}
NDJSON: Named = {
    "whole": _example("An answer", _ndjson(_WHOLE)),
    "broken": _example("An answer that broke off", _ndjson(_BROKEN)),
}
TEXT: Named = {"text": _example("The text alone", HEADLINE)}

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
    "overloaded": {"detail": "No place came free within 30 s (OLLAMA_QUEUE_TIMEOUT).", "retryable": True},
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

"""Example requests and responses of OpenAI's API; each request can be sent unchanged."""

import json
from typing import Any

from routers.openapi.example import Examples, named_example
from routers.openapi.examples import HEADLINE_SCHEMA
from routers.openapi.response_examples import HEADLINE, USAGE

CREATED = 1_764_028_800
COMPLETION_ID = "chatcmpl-9f2c1d7e5b8a4f60a1b2c3d4"
CALL = {"name": "injury_status", "arguments": '{"player":"Saquon Barkley"}'}
CALL_ID = "call_8d1f0c2b"


CHAT: Examples = {
    "conversation": named_example(
        "A conversation",
        {
            "model": "gpt-oss",
            "messages": [
                {"role": "system", "content": "You help fantasy-football managers. Be brief."},
                {"role": "user", "content": "Who should I start, Kyren Williams or Rachaad White?"},
            ],
        },
    ),
    "stream": named_example(
        "Streaming",
        {
            "model": "gpt-oss",
            "messages": [{"role": "user", "content": "Preview the Bills' next game in four sentences."}],
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    ),
    "structured": named_example(
        "Structured output with a JSON schema",
        {
            "model": "llama3.1",
            "messages": [{"role": "user", "content": "A headline about the Bills, with the players it names."}],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "headline", "strict": True, "schema": HEADLINE_SCHEMA},
            },
            "temperature": 0,
        },
        "`message.content` is JSON text; if it does not satisfy the schema, `warnings` has `invalid_json`.",
    ),
    "tools": named_example(
        "Tool call",
        {
            "model": "llama3.1",
            "messages": [{"role": "user", "content": "Is Saquon Barkley fit? Ask injury_status."}],
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
        "`message.tool_calls` has the calls; send the result back with the role `tool` and the `tool_call_id`.",
    ),
}
EMBEDDINGS: Examples = {
    "one": named_example("One text", {"model": "nomic-embed-text", "input": "a fantasy football league"}),
    "several": named_example(
        "Several texts", {"model": "nomic-embed-text", "input": ["waiver wire", "trade deadline", "bye week"]}
    ),
    "query": named_example(
        "A query",
        {"model": "nomic-embed-text", "input": "Who is injured?", "input_type": "query"},
        "Not part of OpenAI's API: the type of input. Stored texts are `document` or `passage`.",
    ),
    "base64": named_example(
        "Base64 vectors",
        {"input": "a fantasy football league", "encoding_format": "base64"},
        "The default of OpenAI's packages.",
    ),
}


def _completion(message: dict[str, Any], reason: str) -> dict[str, Any]:
    return {
        "id": COMPLETION_ID,
        "object": "chat.completion",
        "created": CREATED,
        "model": "gpt-oss",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": USAGE,
        "warnings": [],
    }


def _chunk(delta: dict[str, Any], finish_reason: str | None = None, **members: Any) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    head = {"id": COMPLETION_ID, "object": "chat.completion.chunk", "created": CREATED, "model": "gpt-oss"}
    return f"data: {json.dumps({**head, 'choices': [choice], **members})}\n\n"


COMPLETIONS: Examples = {
    "text": named_example("Text", _completion({"role": "assistant", "content": HEADLINE, "refusal": None}, "stop")),
    "tools": named_example(
        "Tool call",
        _completion(
            {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "tool_calls": [{"id": CALL_ID, "type": "function", "function": CALL}],
            },
            "tool_calls",
        ),
    ),
}
CHUNKS: Examples = {
    "text": named_example(
        "Chunks of text",
        _chunk({"role": "assistant", "content": ""})
        + _chunk({"content": "Three "})
        + _chunk({"content": "running backs"})
        + _chunk({}, "stop", warnings=[])
        + "data: [DONE]\n\n",
    ),
}
EMBEDDINGS_RESPONSES: Examples = {
    "float": named_example(
        "Numbers",
        {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.6, -0.8, 0.0]}],
            "model": "nomic-embed-text",
            "usage": {"prompt_tokens": 5, "total_tokens": 5},
            "prefix": None,
            "warnings": [],
        },
    ),
}
_HEAD = {"object": "model", "created": CREATED, "owned_by": "library"}
_MODEL = {"id": "gpt-oss", **_HEAD, "context_length": 131_072, "capabilities": ["completion", "tools", "thinking"]}
_EMBEDDER = {"id": "nomic-embed-text", **_HEAD, "context_length": 2048, "capabilities": ["embedding"]}
MODEL: Examples = {"found": named_example("A model", _MODEL)}
MODELS: Examples = {
    "list": named_example(
        "The models",
        {
            "object": "list",
            "data": [
                _MODEL,
                _EMBEDDER,
            ],
        },
    ),
}

"""Example requests and responses of Ollama's own API."""

from typing import Any

from routers.openapi.example import Examples, named_example
from routers.openapi.examples import HEADLINE_SCHEMA

_HEAD = {"model": "llama3.1", "created_at": "2026-03-02T09:45:00.123Z"}
_END = {"done": True, "done_reason": "stop", "total_duration": 842117000, "eval_count": 14}
_QUESTION = {"role": "user", "content": "Who should I start, Kyren Williams or Rachaad White?"}
_DETAILS = {"format": "gguf", "family": "llama", "parameter_size": "8.0B", "quantization_level": "Q4_K_M"}
_MODEL = {"name": "llama3.1:latest", "model": "llama3.1:latest", "size": 4_920_753_328, "details": _DETAILS}

CHAT: Examples = {
    "whole": named_example("Complete response", {"model": "llama3.1", "messages": [_QUESTION], "stream": False}),
    "stream": named_example("Streaming", {"model": "llama3.1", "messages": [_QUESTION]}),
    "schema": named_example(
        "Structured output with a JSON schema",
        {"model": "llama3.1", "messages": [_QUESTION], "format": HEADLINE_SCHEMA, "stream": False},
    ),
}
CHAT_RESPONSE: dict[str, Any] = {**_HEAD, "message": {"role": "assistant", "content": "Williams."}, **_END}
GENERATE: Examples = {
    "whole": named_example("Complete response", {"model": "llama3.1", "prompt": "Sum up a 3-3 draw.", "stream": False}),
    "stream": named_example("Streaming", {"model": "llama3.1", "prompt": "Sum up a 3-3 draw."}),
    "load": named_example("Load the model", {"model": "llama3.1"}),
}
GENERATE_RESPONSE: dict[str, Any] = {**_HEAD, "response": "Nobody won.", **_END}
EMBED: Examples = {
    "one": named_example("One text", {"model": "nomic-embed-text", "input": "a trade"}),
    "two": named_example("Two texts", {"model": "nomic-embed-text", "input": ["a trade", "a waiver"]}),
    "short": named_example(
        "Vectors of 256 dimensions", {"model": "nomic-embed-text", "input": "a trade", "dimensions": 256}
    ),
}
EMBED_RESPONSE: dict[str, Any] = {
    "model": "nomic-embed-text",
    "embeddings": [[0.1826, -0.3651, 0.5477, 0.7303], [0.5, 0.5, -0.5, 0.5]],
    "prompt_eval_count": 8,
}
EMBEDDINGS: Examples = {
    "one": named_example("One text", {"model": "nomic-embed-text", "prompt": "a trade"}),
    "kept": named_example(
        "Keep the model loaded", {"model": "nomic-embed-text", "prompt": "a trade", "keep_alive": "1h"}
    ),
    "load": named_example("Load the model", {"model": "nomic-embed-text"}),
}
EMBEDDINGS_RESPONSE: dict[str, Any] = {"embedding": [0.1826, -0.3651, 0.5477, 0.7303]}
SHOW: Examples = {
    "model": named_example("A model", {"model": "llama3.1"}),
    "verbose": named_example("Verbose", {"model": "llama3.1", "verbose": True}),
    "embedding": named_example("An embedding model", {"model": "nomic-embed-text"}),
}
SHOW_RESPONSE: dict[str, Any] = {
    "details": _DETAILS,
    "model_info": {"general.architecture": "llama", "llama.context_length": 131_072},
    "capabilities": ["completion", "tools"],
}
TAGS_RESPONSE: dict[str, Any] = {"models": [_MODEL]}
PS_RESPONSE: dict[str, Any] = {"models": [_MODEL | {"size_vram": 0, "context_length": 4096}]}
VERSION_RESPONSE: dict[str, Any] = {"version": "0.12.6"}

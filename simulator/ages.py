"""Responses that differ between Ollama versions: before 0.30, and since, when models run in llama-server."""

from collections.abc import Mapping
from typing import Any, Literal

from simulator.content.grammars import TYPES, has_grammar
from simulator.wire.replies import dumps

Age = Literal["0.33", "0.24"]
"""The version that the simulator speaks as."""

_SINCE_0_30_IN_LISTS = ("capabilities",)
_SINCE_0_30_IN_DETAILS = ("context_length", "embedding_length")


def listed(item: dict[str, Any], age: Age) -> dict[str, Any]:
    """Return an item of a model list as that version has it."""
    if age == "0.33":
        return item
    details = {key: value for key, value in item["details"].items() if key not in _SINCE_0_30_IN_DETAILS}
    return {key: value for key, value in item.items() if key not in _SINCE_0_30_IN_LISTS} | {"details": details}


def fault_of_schema(schema: Mapping[str, Any], age: Age) -> tuple[int, str] | None:
    """Return status and message where a schema in `format` cannot be used."""
    if age == "0.24":
        return None if has_grammar(schema) else (500, "invalid JSON schema in format")
    kind = _unknown_type(schema)
    if kind is None:
        return None
    problem = f"JSON schema conversion failed:\nJSON schema error at #: unrecognized type {kind}"
    return 400, _from_llama_server(f"Field 'json_schema': \"json_schema\": {problem}", "invalid_request_error")


def too_long(prompt_tokens: int, context: int, age: Age) -> str:
    """Return what is said to a prompt that must not be cut."""
    if age == "0.24":
        return "the input length exceeds the context length"
    text = f"request ({prompt_tokens} tokens) exceeds the available context size ({context} tokens), try increasing it"
    return _from_llama_server(text, "exceed_context_size_error", n_prompt_tokens=prompt_tokens, n_ctx=context)


def _from_llama_server(message: str, kind: str, **more: int) -> str:
    """Return an error of llama-server's, whose JSON Ollama passes on as text."""
    return dumps({"error": {"code": 400, "message": message, "type": kind, **more}}).decode()


def _unknown_type(schema: Mapping[str, Any]) -> str | None:
    """Return a type that does not exist, of the schema itself or what is below it; an incomplete search."""
    kind = schema.get("type")
    if isinstance(kind, str) and kind not in TYPES:
        return kind
    items = schema.get("items")
    properties = schema.get("properties")
    below = [*(properties.values() if isinstance(properties, Mapping) else ()), items]
    return next((found for part in below if isinstance(part, Mapping) and (found := _unknown_type(part))), None)

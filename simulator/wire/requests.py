"""Request parsing with the type checks and error messages of Ollama's Go decoder."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

from simulator.wire.errors import RefusedError

_MESSAGE = {
    "role": "string", "content": "string", "thinking": "string", "images": "[]api.ImageData",
    "tool_calls": "[]api.ToolCall", "tool_name": "string", "tool_call_id": "string",
}  # fmt: skip
_COMMON = {"model": "string", "options": "map[string]interface {}", "truncate": "bool"}
_COMPLETION = _COMMON | {"stream": "bool", "shift": "bool", "logprobs": "bool", "top_logprobs": "int"}
_FIELDS: dict[str, dict[str, str]] = {
    "GenerateRequest": _COMPLETION | {
        "prompt": "string", "suffix": "string", "system": "string", "template": "string", "context": "[]int",
        "raw": "bool", "images": "[]api.ImageData",
    },
    "ChatRequest": _COMPLETION | {"messages": "[]api.Message", "tools": "api.Tools"},
    "EmbedRequest": _COMMON | {"dimensions": "int"},
    "EmbeddingRequest": _COMMON | {"prompt": "string"},
    "ShowRequest": _COMMON | {"name": "string", "system": "string", "verbose": "bool"},
}  # fmt: skip
_OPTIONS: dict[str, str] = {
    **dict.fromkeys(
        ("num_keep", "seed", "num_predict", "top_k", "repeat_last_n", "num_ctx", "num_batch", "num_gpu",
         "main_gpu", "num_thread", "draft_num_predict"), "integer"),
    **dict.fromkeys(
        ("temperature", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty",
         "frequency_penalty"), "float32"),
    "use_mmap": "boolean",
    "stop": "array",
}  # fmt: skip
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)([^\d.]*)")
_THINK_WORDS = '"high", "medium", "low", "max", true, or false'
_TOP_LOGPROBS = 20
_CONTEXTS = {
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after object key:value pair",
}


def parse_json(body: bytes) -> Any:
    """Parse the first JSON value of a body; anything after it is ignored.

    Raises:
        RefusedError: if the body is empty or not JSON.
    """
    text = body.decode(errors="replace").lstrip(" \t\r\n")
    if not text:
        raise RefusedError(400, "missing request body")
    try:
        return json.JSONDecoder().raw_decode(text)[0]
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            raise RefusedError(400, "unexpected EOF") from error
        where = _CONTEXTS.get(error.msg, "looking for beginning of value")
        raise RefusedError(400, f"invalid character {text[error.pos]!r} {where}") from error


def decode(kind: str, value: Any) -> dict[str, Any]:
    """Return the fields of a request by their names in lower case, without null values.

    Raises:
        RefusedError: if a field has the wrong type.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RefusedError(400, f"json: cannot unmarshal {_json_type(value)} into Go value of type api.{kind}")
    fields = {key.lower(): item for key, item in value.items() if item is not None}
    _check_types(f"{kind}.", fields, _FIELDS[kind])
    _check_images(fields)
    for message in fields.get("messages", ()):
        if not isinstance(message, dict):
            raise _mismatch(f"{kind}.messages", message, "api.Message")
        _check_types(f"{kind}.messages.", message, _MESSAGE)
        _check_images(message)
    if kind in {"GenerateRequest", "ChatRequest"}:
        check_think(fields.get("think"))
    if kind != "ShowRequest" and "keep_alive" in fields:
        fields["keep_alive"] = keep_alive_seconds(fields["keep_alive"])
    if not 0 <= fields.get("top_logprobs", 0) <= _TOP_LOGPROBS:
        raise RefusedError(400, f"top_logprobs must be between 0 and {_TOP_LOGPROBS}")
    return fields


def _check_types(prefix: str, fields: Mapping[str, Any], types: Mapping[str, str]) -> None:
    for name, value in fields.items():
        wanted = types.get(name)
        if wanted is not None and value is not None and not _fits(value, wanted):
            raise _mismatch(prefix + name, value, wanted)


def _fits(value: Any, go_type: str) -> bool:
    match go_type:
        case "string":
            return isinstance(value, str)
        case "bool":
            return isinstance(value, bool)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "map[string]interface {}":
            return isinstance(value, dict)
    return isinstance(value, list)


def _mismatch(field: str, value: Any, go_type: str) -> RefusedError:
    kind = f"number {value}" if isinstance(value, float) else _json_type(value)
    return RefusedError(400, f"json: cannot unmarshal {kind} into Go struct field {field} of type {go_type}")


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    names: dict[type, str] = {str: "string", int: "number", float: "number", list: "array"}
    return names.get(type(value), "object")


def _check_images(fields: Mapping[str, Any]) -> None:
    for image in fields.get("images") or ():
        if not isinstance(image, str):
            raise _mismatch("images", image, "api.ImageData")
        try:
            base64.b64decode(image, validate=True)
        except binascii.Error as error:
            at = next((at for at, char in enumerate(image) if not (char.isalnum() or char in "+/=")), len(image))
            raise RefusedError(400, f"illegal base64 data at input byte {at}") from error


def check_think(value: Any) -> None:
    """Validate `think`.

    Raises:
        RefusedError: if it is invalid.
    """
    if value is None or isinstance(value, bool) or value in ("low", "medium", "high", "max"):
        return
    if isinstance(value, str):
        raise RefusedError(400, f'invalid think value: "{value}" (must be {_THINK_WORDS})')
    raise RefusedError(400, f"think must be a boolean or string ({_THINK_WORDS})")


def keep_alive_seconds(value: Any) -> float:
    """Convert a number or a Go duration to seconds; negative means for ever.

    Raises:
        RefusedError: if it is neither.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        go_type = {bool: "bool", list: "[]interface {}"}.get(type(value), "map[string]interface {}")
        raise RefusedError(400, f"Unsupported type: '{go_type}'")
    if not isinstance(value, str):
        return float(value)
    text = value[1:] if value[:1] in ("-", "+") else value
    if text == "0":
        return 0.0
    seconds, at = 0.0, 0
    while at < len(text) or not at:
        part = _DURATION_PART.match(text, at)
        if part is None:
            raise RefusedError(400, f'time: invalid duration "{value}"')
        number, unit = part.groups()
        if not unit:
            raise RefusedError(400, f'time: missing unit in duration "{value}"')
        if unit not in _UNITS:
            raise RefusedError(400, f'time: unknown unit "{unit}" in duration "{value}"')
        seconds += float(number) * _UNITS[unit]
        at = part.end()
    return -seconds if value.startswith("-") else seconds


def checked_options(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the known options that are set; Ollama responds to a wrong type with 500.

    Raises:
        RefusedError: if an option has the wrong type.
    """
    options: dict[str, Any] = {}
    for name, value in fields.get("options", {}).items():
        kind = _OPTIONS.get(name)
        if kind is None or value is None:
            continue
        if not _is_option(value, kind):
            raise RefusedError(500, f'option "{name}" must be of type {kind}')
        if kind == "array" and not all(isinstance(item, str) for item in value):
            raise RefusedError(500, f'option "{name}" must be of an array of strings')
        options[name] = int(value) if kind == "integer" else value
    return options


def _is_option(value: Any, kind: str) -> bool:
    if kind in {"integer", "float32"}:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, bool if kind == "boolean" else list)

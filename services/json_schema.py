"""JSON schemas that callers send: checked before they are used, and bounded in what they may cost."""

import re
from typing import Any

import jsonschema_rs

MAX_EXPANSION = 10_000
MAX_DEPTH = 200
IDENTIFIERS = {"$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"}
FATAL_PATTERN = re.compile(r"\(\?|(^|[(|^])[*+?{]")


def schema_validator(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """Compile a JSON schema; nothing is fetched for it, and its patterns take linear time.

    Raises:
        ValueError: if it is no valid schema, refers to anything but its own parts, could take for ever to validate,
            or has a pattern that ends Ollama.
    """
    if _expansion(schema, schema, {}, 0) > MAX_EXPANSION:
        msg = f"with its references followed it has over {MAX_EXPANSION} parts"
        raise ValueError(msg)
    return jsonschema_rs.validator_for(schema, offline=True, pattern_options=jsonschema_rs.RegexOptions())


def _expansion(part: Any, root: dict[str, Any], known: dict[str, int], depth: int) -> int:
    """Count the parts of a schema with each reference counted as what it refers to; a circle counts once."""
    if depth > MAX_DEPTH:
        msg = f"it is nested more than {MAX_DEPTH} deep"
        raise ValueError(msg)
    if isinstance(part, list):
        return 1 + sum(_expansion(item, root, known, depth + 1) for item in part)
    if not isinstance(part, dict):
        return 1
    total = 1
    for key, value in part.items():
        if key in IDENTIFIERS and isinstance(value, str | bool):
            msg = f"{key} is not taken; refer to parts by their place, as in #/$defs/name"
            raise ValueError(msg)
        if key == "pattern" and isinstance(value, str) and FATAL_PATTERN.search(value):
            msg = f"Ollama cannot take the pattern {value[:100]!r}"
            raise ValueError(msg)
        if key == "$ref" and isinstance(value, str):
            if value not in known:
                known[value] = 1
                known[value] = _expansion(_target(value, root), root, known, depth + 1)
            total += known[value]
        else:
            total += _expansion(value, root, known, depth + 1)
    return total


def _target(reference: str, root: dict[str, Any]) -> Any:
    """Return the part of the schema that a reference names by its place."""
    if reference == "#":
        return root
    target: Any = root
    before, *steps = reference.split("/")
    try:
        for step in steps if before == "#" else [reference]:
            name = step.replace("~1", "/").replace("~0", "~")
            target = target[int(name)] if isinstance(target, list) else target[name]
    except (KeyError, IndexError, TypeError, ValueError):
        msg = f"the reference {reference[:100]!r} leads nowhere within it"
        raise ValueError(msg) from None
    return target

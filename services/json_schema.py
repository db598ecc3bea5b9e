"""JSON schemas that callers send: checked before they are used, and bounded in what they may cost."""

from typing import Any

import jsonschema_rs

MAX_EXPANSION = 10_000


def schema_validator(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """Compile a JSON schema; nothing is fetched for it, and its patterns take linear time.

    Raises:
        ValueError: if it is no valid schema, refers to another document, or refers to itself so often that
            validation could take for ever.
    """
    if _expansion(schema, schema, {}) > MAX_EXPANSION:
        msg = f"with its references followed it has over {MAX_EXPANSION} parts"
        raise ValueError(msg)
    return jsonschema_rs.validator_for(schema, offline=True, pattern_options=jsonschema_rs.RegexOptions())


def _expansion(part: Any, root: dict[str, Any], known: dict[str, int]) -> int:
    """Count the parts of a schema with each reference counted as what it refers to; a circle counts once."""
    if isinstance(part, list):
        return 1 + sum(_expansion(item, root, known) for item in part)
    if not isinstance(part, dict):
        return 1
    total = 1
    for key, value in part.items():
        if key == "$ref" and isinstance(value, str):
            if value not in known:
                known[value] = 1
                known[value] = _expansion(_target(value, root), root, known)
            total += known[value]
        else:
            total += _expansion(value, root, known)
    return total


def _target(reference: str, root: dict[str, Any]) -> Any:
    """Return what a reference within the document points at, or None."""
    target: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            target = target.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
    return target

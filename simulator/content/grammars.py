"""JSON schemas that Ollama before 0.30 can convert to a grammar; it rejects other schemas even if they are valid."""

from collections.abc import Iterator, Mapping
from typing import Any

TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_FORMATS = ("date", "date-time", "time", "uuid")
"""Formats that imply the type string."""
_REMOTE = "https://"
"""References to other documents are not checked."""


def has_grammar(schema: Any) -> bool:
    """Return whether Ollama accepts the schema as `format`."""
    document = _Document(schema)
    try:
        return all(map(document.refers_within, _references(schema))) and document.covers(schema)
    except (AttributeError, TypeError):
        # A keyword with a value of the wrong type.
        return False


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, list):
        for item in part:
            yield from _references(item)
    elif isinstance(part, Mapping):
        if "$ref" in part:
            yield part["$ref"]
            return
        for value in part.values():
            yield from _references(value)


class _Document:
    """A schema document; only the parts reachable from the root must have a grammar."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._covered: set[str] = set()

    def refers_within(self, reference: str) -> bool:
        """Return whether the target of a reference exists."""
        return reference.startswith(_REMOTE) or self._target(reference) is not None

    def covers(self, part: Any) -> bool:  # noqa: PLR0911 - one return a keyword
        """Return whether a subschema can be converted; keywords have precedence in this order."""
        if not isinstance(part, Mapping):
            return False
        kind = part.get("type")
        if "$ref" in part:
            return self._covers_target(part["$ref"])
        for several in ("oneOf", "anyOf"):
            if several in part:
                return all(map(self.covers, part[several]))
        if isinstance(kind, list):
            return all(self.covers({**part, "type": one}) for one in kind)
        if "const" in part or "enum" in part:
            return True
        if kind in (None, "object") and ("properties" in part or part.get("additionalProperties", True) is not True):
            other = part.get("additionalProperties")
            return all(map(self.covers, [*part.get("properties", {}).values(), *[other] * isinstance(other, dict)]))
        if kind in (None, "object", "string") and "allOf" in part:
            return all(map(self.covers, self._merged_properties(part["allOf"])))
        if kind in (None, "array") and ("items" in part or "prefixItems" in part):
            items = part.get("items", part.get("prefixItems"))
            return all(map(self.covers, items if isinstance(items, list) else [items]))
        if kind in (None, "string") and "pattern" in part:
            return bool(part["pattern"].startswith("^") and part["pattern"].endswith("$"))
        return (not part or part.get("format") in _FORMATS) if kind is None else kind in TYPES

    def _covers_target(self, reference: str) -> bool:
        if reference.startswith(_REMOTE) or reference in self._covered:
            return True
        self._covered.add(reference)
        return self.covers(self._target(reference))

    def _merged_properties(self, parts: list[Any]) -> Iterator[Any]:
        """Yield the properties of all parts; Ollama ignores their other keywords."""
        for part in parts:
            whole = self._target(part["$ref"]) if "$ref" in part else part
            yield from whole.get("properties", {}).values()

    def _target(self, reference: str) -> Any:
        if not reference.startswith("#/"):
            return None
        target = self._root
        for key in reference.removeprefix("#/").split("/"):
            name = key.replace("~1", "/").replace("~0", "~")
            target = target.get(name) if isinstance(target, Mapping) else None
        return target

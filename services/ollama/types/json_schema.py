"""JSON schemas from requests: validated, compiled, and limited in what they may cost."""

from functools import partial
from typing import Any, Self

import jsonschema_rs

from services.ollama.types.pattern_cost import needs_backtracking, pattern_cost

MAX_EXPANSION = 10_000
MAX_DEPTH = 200
MAX_PATTERN_LENGTH = 10_000
MAX_PATTERN_COST = 100_000
MAX_BACKTRACKING = 10_000
MAX_REFERENCE_LENGTH = 2_000
MAX_ERROR_LENGTH = 300
TOO_MANY_PARTS = f"it has over {MAX_EXPANSION} parts, with references resolved"
IDENTIFIERS = {"$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"}

SCHEMA_KEYWORDS = {
    "additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not",
    "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
}  # fmt: skip
SCHEMA_LIST_KEYWORDS = {"allOf", "anyOf", "items", "oneOf", "prefixItems"}
SCHEMA_MAP_KEYWORDS = {
    "$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties",
}  # fmt: skip


class JsonSchema(dict[str, Any]):
    """A JSON schema, with its validator compiled once."""

    __slots__ = ("validator",)

    def __init__(self, schema: dict[str, Any]) -> None:
        """Compile the schema.

        Raises:
            ValueError: as `schema_validator`.
        """
        super().__init__(schema)
        self.validator = schema_validator(schema)

    @classmethod
    def of(cls, schema: dict[str, Any]) -> Self:
        """Return the compiled schema; one that is already compiled is returned unchanged."""
        return schema if isinstance(schema, cls) else cls(schema)


def schema_validator(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """Compile a JSON schema; nothing is fetched, and pattern matching is linear or limited.

    Raises:
        ValueError: if it is not a valid schema, has references outside itself, or could take too long to compile or
            to validate.
    """
    parts = _Parts(schema)
    if parts.count(schema, 0) > MAX_EXPANSION:
        raise ValueError(TOO_MANY_PARTS)
    if sum(map(len, parts.patterns)) > MAX_PATTERN_LENGTH:
        msg = f"its patterns have over {MAX_PATTERN_LENGTH} characters"
        raise ValueError(msg)
    if sum(map(pattern_cost, parts.patterns)) > MAX_PATTERN_COST:
        msg = "its patterns have too many repetitions"
        raise ValueError(msg)
    options: jsonschema_rs.RegexOptions | jsonschema_rs.FancyRegexOptions = jsonschema_rs.RegexOptions()
    if any(map(needs_backtracking, parts.patterns)):
        options = jsonschema_rs.FancyRegexOptions(backtrack_limit=MAX_BACKTRACKING)
    try:
        return jsonschema_rs.validator_for(schema, offline=True, pattern_options=options)
    except ValueError as error:
        raise ValueError(_shortened(str(error).partition("\n")[0])) from None


def _shortened(text: str) -> str:
    half = MAX_ERROR_LENGTH // 2
    return text if len(text) <= MAX_ERROR_LENGTH else f"{text[:half]} … {text[-half:]}"


def resolver(schema: dict[str, Any]) -> partial[Any]:
    """Return a function that resolves references within a schema; it raises `ValueError` for an invalid one."""
    return partial(_target, root=schema)


class _Parts:
    """Counts the parts of a schema with its references expanded; a circular reference counts once."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._known: dict[str, int] = {}
        self._visited = 0
        self.patterns: list[str] = []

    def count(self, schema: Any, depth: int) -> int:
        """Count the parts of a schema, and collect its patterns.

        Raises:
            ValueError: if it is nested too deeply or refers to something outside itself.
        """
        _check_depth(depth)
        self._visited += 1
        if self._visited > MAX_EXPANSION:
            raise ValueError(TOO_MANY_PARTS)
        if not isinstance(schema, dict):
            return 1 + _size(schema, depth)
        total = 1
        for key, value in schema.items():
            if key in IDENTIFIERS and isinstance(value, str | bool):
                msg = f"{key} is not supported; use a JSON pointer such as #/$defs/name"
                raise ValueError(msg)
            if key == "pattern" and isinstance(value, str):
                self.patterns.append(value)
            if key == "patternProperties" and isinstance(value, dict):
                self.patterns.extend(value)
            if key == "$ref" and isinstance(value, str):
                total += self._count_target(value, depth)
            elif isinstance(value, list) and key in SCHEMA_LIST_KEYWORDS:
                total += 1 + sum(self.count(one, depth + 2) for one in value)
            elif isinstance(value, dict) and key in SCHEMA_MAP_KEYWORDS:
                total += 1 + sum(self.count(one, depth + 2) for one in value.values())
            elif key in SCHEMA_KEYWORDS:
                total += self.count(value, depth + 1)
            else:
                total += _size(value, depth + 1)
        return total

    def _count_target(self, reference: str, depth: int) -> int:
        if reference not in self._known:
            self._known[reference] = 1
            self._known[reference] = self.count(_target(reference, self._root), depth + 1)
        return self._known[reference]


def _size(data: Any, depth: int) -> int:
    """Count the values in data, stopping above the limit."""
    count, within = 1, [(data, depth)]
    while within and count <= MAX_EXPANSION:
        value, depth = within.pop()
        _check_depth(depth)
        if isinstance(value, dict | list):
            count += len(value)
            if count <= MAX_EXPANSION:
                within += [(one, depth + 1) for one in (value.values() if isinstance(value, dict) else value)]
    return count


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        msg = f"it is nested more than {MAX_DEPTH} deep"
        raise ValueError(msg)


def _target(reference: str, root: dict[str, Any]) -> Any:
    """Return the part of the schema that a JSON pointer refers to."""
    if reference == "#":
        return root
    if len(reference) > MAX_REFERENCE_LENGTH:
        msg = f"a reference is longer than {MAX_REFERENCE_LENGTH} characters"
        raise ValueError(msg)
    target: Any = root
    before, *steps = reference.split("/")
    try:
        for step in steps if before == "#" else [reference]:
            name = step.replace("~1", "/").replace("~0", "~")
            target = target[int(name)] if isinstance(target, list) else target[name]
    except (KeyError, IndexError, TypeError, ValueError):
        msg = f"the reference {reference[:100]!r} does not exist in it"
        raise ValueError(msg) from None
    return target

"""Detection of JSON schemas that crash or hang Ollama when it converts them to a grammar.

Follows `visit` in llama.cpp's json-schema-to-grammar.cpp: the first keyword that applies decides, the others are
ignored. Schemas that Ollama itself rejects with an error pass. Based on the source of 0.24; verified on 0.24 and 0.33.
"""

import re
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from services.ollama.types.grammar_patterns import PatternHarm, empty_paths

MAX_REPETITIONS = 2000
MAX_EMPTY_PATHS = 10_000
MAX_DEPTH = 200
_STRING_FORMATS = re.compile(r"uuid[1-5]?|date|time|date-time")


class Harm(IntEnum):
    """Effect of a schema on Ollama, in ascending severity."""

    ENDS_RUNNER_BEFORE_0_30 = 1
    ENDS_SERVER_BEFORE_0_30 = 2
    HARMS_EVERY_VERSION = 3


class HarmfulSchemaError(ValueError):
    """A schema would crash or hang Ollama; the message names the part at fault."""

    def __init__(self, harm: Harm, part: str) -> None:
        super().__init__(part)
        self.harm = harm


def find_harm(schema: dict[str, Any], resolve: Callable[[str], Any]) -> HarmfulSchemaError | None:
    """Return the most severe effect of a valid schema, or None; `resolve` looks up references."""
    walk = _Walk(resolve)
    try:
        walk.visit(schema, (), 0)
    except HarmfulSchemaError as error:
        walk.found.append(error)
    return max(walk.found, key=lambda error: error.harm, default=None)


class _Walk:
    def __init__(self, resolve: Callable[[str], Any]) -> None:
        self._resolve = resolve
        self._visited: set[str] = set()
        self.found: list[HarmfulSchemaError] = []

    def visit(  # noqa: PLR0912 - one branch per keyword
        self, part: Any, open_references: tuple[str, ...], depth: int, kind: Any = None
    ) -> None:
        """Check one part of the schema; `kind` selects one of several types.

        `open_references` are the references followed to this part without consuming a character.
        """
        if depth > MAX_DEPTH:
            raise HarmfulSchemaError(Harm.ENDS_SERVER_BEFORE_0_30, f"more than {MAX_DEPTH} levels")
        if not isinstance(part, dict):
            return
        kind = kind or part.get("type")
        if "$ref" in part:
            self._visit_reference(part["$ref"], open_references, depth)
        elif "oneOf" in part or "anyOf" in part:
            for one in part["oneOf"] if "oneOf" in part else part["anyOf"]:
                self.visit(one, open_references, depth + 1)
        elif isinstance(kind, list):
            for one in kind:
                self.visit(part, open_references, depth + 1, one)
        elif "const" in part or "enum" in part:
            return
        elif kind in (None, "object") and ("properties" in part or part.get("additionalProperties", True) is not True):
            self._visit_all([*part.get("properties", {}).values(), part.get("additionalProperties")], depth)
            self._check(_check_names, part)
        elif kind in (None, "object", "string") and "allOf" in part:
            for one in part["allOf"]:
                for component in one.get("anyOf", [one]) if isinstance(one, dict) else ():
                    self._visit_all(self._followed(component).get("properties", {}).values(), depth)
        elif kind in (None, "array") and ("items" in part or "prefixItems" in part):
            items = part.get("items", part.get("prefixItems"))
            self._visit_all(items if isinstance(items, list) else [items], depth)
            if not isinstance(items, list):
                self._check(_check_order, part, "Items", 1)
                self._check(_check_size, part, "Items", 1)
        elif kind == "array":
            self._check(_check_order, part, "Items", 1)
        elif kind in (None, "string") and "pattern" in part:
            self._check(check_pattern, part["pattern"])
        elif kind in (None, "string") and not _STRING_FORMATS.fullmatch(str(part.get("format"))):
            self._check(_check_order, part, "Length", 0)
            if kind is not None:
                self._check(_check_size, part, "Length", 0)

    def _visit_all(self, parts: Any, depth: int) -> None:
        for part in parts:
            self.visit(part, (), depth + 1)

    def _visit_reference(self, reference: str, open_references: tuple[str, ...], depth: int) -> None:
        if not reference.startswith("#/"):
            return
        if reference in open_references:
            part = f"the reference {reference[:100]!r} to itself"
            self.found.append(HarmfulSchemaError(Harm.ENDS_RUNNER_BEFORE_0_30, part))
        if reference not in self._visited:
            self._visited.add(reference)
            self.visit(self._resolve(reference), (*open_references, reference), depth + 1)

    def _check(self, check: Callable[..., None], *args: Any) -> None:
        try:
            check(*args)
        except HarmfulSchemaError as error:
            self.found.append(error)

    def _followed(self, component: Any) -> dict[str, Any]:
        """Return a part of `allOf` with its references followed."""
        seen = set()
        while isinstance(component, dict) and "$ref" in component:
            reference = component["$ref"]
            if reference in seen:
                raise HarmfulSchemaError(Harm.HARMS_EVERY_VERSION, f"the reference {reference[:100]!r} to itself")
            seen.add(reference)
            component = self._resolve(reference)
        return component if isinstance(component, dict) else {}


def _bounds(part: dict[str, Any], name: str, separated: int) -> tuple[int, int | None]:
    """Return the bounds of a repetition; `separated` items (1 or 0) precede it."""
    at_least = max(int(part.get(f"min{name}", 0)) - separated, 0)
    at_most = max(int(part[f"max{name}"]) - separated, 0) if f"max{name}" in part else None
    return (at_least, at_most) if at_most != 0 else (0, 0)


def _check_order(part: dict[str, Any], name: str, separated: int) -> None:
    at_least, at_most = _bounds(part, name, separated)
    if at_most is not None and at_least > at_most:
        raise HarmfulSchemaError(Harm.HARMS_EVERY_VERSION, f"min{name} larger than max{name}")


def _check_size(part: dict[str, Any], name: str, separated: int) -> None:
    at_least, at_most = _bounds(part, name, separated)
    if max(at_least, at_most or 0) > MAX_REPETITIONS:
        limit = MAX_REPETITIONS + separated
        raise HarmfulSchemaError(Harm.ENDS_RUNNER_BEFORE_0_30, f"min{name} or max{name} larger than {limit}")


def _check_names(part: dict[str, Any]) -> None:
    """Check property names, which are put into a character class unescaped."""
    if part.get("additionalProperties", False) is not False:
        for name in part.get("properties", {}):
            if "]" in name or "\\" in name:
                raise HarmfulSchemaError(
                    Harm.ENDS_RUNNER_BEFORE_0_30, f"the property {name[:100]!r} together with additionalProperties"
                )


def check_pattern(pattern: str) -> None:
    """Check a pattern; Ollama rejects or ignores one without `^` and `$`.

    Raises:
        HarmfulSchemaError: if it would crash or hang Ollama.
    """
    if not (pattern.startswith("^") and pattern.endswith("$") and len(pattern) > 1):
        return
    shown = f"the pattern {pattern[:100]!r}"
    try:
        paths = empty_paths(pattern[1:-1])
    except PatternHarm as error:
        raise HarmfulSchemaError(Harm(error.level), shown) from None
    if paths > MAX_EMPTY_PATHS:
        raise HarmfulSchemaError(Harm.ENDS_SERVER_BEFORE_0_30, shown)

"""Generation of JSON values that match a schema."""

import math
import random
from collections.abc import Mapping
from typing import Any

import orjson

from simulator.content.text import words

_DEEP = 4
"""From this depth on only required parts are generated, so that recursive schemas terminate."""
_STRINGS = {
    "date": "2024-02-29",
    "date-time": "2024-02-29T12:30:00Z",
    "time": "12:30:00Z",
    "email": "simulated@example.com",
    "uri": "https://example.com/simulated",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}
_NUMERIC = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}


def json_answer(wanted: Any, label: str, rng: random.Random) -> str:
    """Return JSON text for Ollama's `format`: "json" or a schema."""
    if isinstance(wanted, dict):
        value = _Maker(wanted, rng).make(wanted, 0)
    else:
        value = {"simulated": True, "model": label, "text": "".join(words(rng, 5)).strip()}
    return orjson.dumps(value).decode()


def value_for(schema: Any, rng: random.Random) -> Any:
    """Return a value that matches the schema."""
    return _Maker(schema, rng).make(schema, 0)


class _Maker:
    """Generates values for the subschemas of one document."""

    def __init__(self, root: Any, rng: random.Random) -> None:
        self._root = root
        self._rng = rng

    def make(self, schema: Any, depth: int) -> Any:  # noqa: PLR0911 - one return a keyword
        """Return a value for a subschema."""
        if not isinstance(schema, Mapping):
            return "simulated"
        if "$ref" in schema:
            return self.make(self._resolve(schema["$ref"]), depth)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._rng.choice(schema["enum"])
        if schema.get("allOf"):
            return self.make(self._merged(schema), depth)
        for several in ("anyOf", "oneOf"):
            if schema.get(several):
                rest = {key: value for key, value in schema.items() if key != several}
                return self.make(self._merged({**rest, "allOf": [self._choice(schema[several], depth)]}), depth)
        return self._typed(schema, depth)

    def _resolve(self, reference: str) -> Any:
        part = self._root
        for key in reference.removeprefix("#").strip("/").split("/"):
            if key:
                part = part.get(key.replace("~1", "/").replace("~0", "~"), {})
        return part

    def _merged(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        merged = {key: value for key, value in schema.items() if key != "allOf"}
        for part in schema["allOf"]:
            whole = self._resolve(part["$ref"]) if "$ref" in part else part
            for key, value in whole.items():
                old = merged.get(key)
                if isinstance(old, dict) and isinstance(value, dict):
                    merged[key] = old | value
                elif isinstance(old, list) and isinstance(value, list) and key == "required":
                    merged[key] = old + value
                else:
                    merged[key] = value
        return merged

    def _choice(self, schemas: list[Any], depth: int) -> Any:
        """Return the first alternative that is not null; at depth `_DEEP`, one that is not nested."""
        if depth >= _DEEP:
            plain = [part for part in schemas if not {"$ref", "properties", "items"} & set(part)]
            return (plain or schemas)[0]
        return next((part for part in schemas if part.get("type") != "null"), schemas[0])

    def _typed(self, schema: Mapping[str, Any], depth: int) -> Any:
        kind = schema.get("type") or _implied_type(schema)
        if isinstance(kind, list):
            kinds = [one for one in kind if one != "null"]
            kind = "null" if not kinds or (depth >= _DEEP and "null" in kind) else kinds[0]
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer" | "number":
                return self._number(schema, whole=kind == "integer")
            case "boolean":
                return self._rng.random() < 0.5  # noqa: PLR2004 - heads or tails
            case "null":
                return None
        return self._string(schema)

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = list(dict.fromkeys(schema.get("required") or []))
        names = required if depth >= _DEEP else list(dict.fromkeys([*properties, *required]))
        other = schema.get("additionalProperties")
        spare = other if isinstance(other, dict) else {"type": "string"}
        return {name: self.make(properties.get(name, spare), depth + 1) for name in names}

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        first = schema.get("prefixItems") or []
        least = int(schema.get("minItems", 0))
        count = max(least, len(first), 0 if depth >= _DEEP else 2)
        count = min(count, int(schema.get("maxItems", count)))
        items: list[Any] = []
        for _ in range(count * 20):
            if len(items) >= count:
                break
            part = first[len(items)] if len(items) < len(first) else schema.get("items", {"type": "string"})
            item = self.make(part, depth + 1)
            if not schema.get("uniqueItems") or item not in items:
                items.append(item)
        return items

    def _number(self, schema: Mapping[str, Any], *, whole: bool) -> int | float:
        step = schema.get("multipleOf") or (1 if whole else 0)
        low, high = _bounds(schema, step)
        if not step:
            value = low + (high - low) * self._rng.uniform(0.05, 0.95)
            short = round(value, 2)
            return short if low < short < high else value
        first, last = math.ceil(low / step), math.floor(high / step)
        value = self._rng.randint(first, max(first, last)) * step
        return int(value) if whole else value

    def _string(self, schema: Mapping[str, Any]) -> str:
        if schema.get("format") in _STRINGS:
            return _STRINGS[schema["format"]]
        text = "simulated" + "".join(words(self._rng, 2))
        text = text.ljust(int(schema.get("minLength", 0)), ".")
        return text[: int(schema.get("maxLength", len(text)))]


def _implied_type(schema: Mapping[str, Any]) -> str:
    if {"properties", "required", "additionalProperties"} & set(schema):
        return "object"
    if {"items", "prefixItems", "minItems"} & set(schema):
        return "array"
    return "number" if _NUMERIC & set(schema) else "string"


def _bounds(schema: Mapping[str, Any], step: float) -> tuple[float, float]:
    """Return the minimum and maximum of a number; a missing one is 100 from the other."""
    lows = [schema[key] + extra for key, extra in (("minimum", 0), ("exclusiveMinimum", step)) if key in schema]
    highs = [schema[key] - extra for key, extra in (("maximum", 0), ("exclusiveMaximum", step)) if key in schema]
    low = max(lows) if lows else None
    high = min(highs) if highs else None
    if low is None:
        low = 0 if high is None or high >= 0 else high - 100
    return low, low + 100 if high is None else high

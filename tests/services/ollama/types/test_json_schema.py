import time
from typing import Any

import pytest

from services.ollama.parsing.response_parser import satisfies
from services.ollama.types.json_schema import JsonSchema, schema_validator


def doubling(levels: int) -> dict[str, Any]:
    """Return a small schema in which each level refers to the next one twice."""
    steps = {str(level): {"allOf": [{"$ref": f"#/$defs/{level + 1}"}] * 2} for level in range(levels)}
    return {"$ref": "#/$defs/0", "$defs": steps | {str(levels): {"type": "object"}}}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "banana"},
        {"type": "object", "minProperties": -1},
        {"pattern": "("},
        {"$ref": "http://example.org/schema"},
        {"$ref": "#/nowhere"},
        {"$schema": "http://example.org/meta"},
    ],
    ids=str,
)
def test_an_unusable_schema_is_rejected(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        schema_validator(schema)


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"not": {"$ref": "#"}}, {"allOf": [{"$ref": "#"}]}], ids=str)
def test_a_recursive_schema_is_accepted(schema: dict[str, Any]) -> None:
    assert isinstance(satisfies('{"keep": true}', schema), bool)


def test_a_schema_with_multiplying_references_is_rejected_quickly() -> None:
    started_at = time.process_time()
    with pytest.raises(ValueError, match="over 10000 parts"):
        schema_validator(doubling(40))
    assert time.process_time() - started_at < 1


def test_a_reasonable_number_of_references_is_accepted() -> None:
    schema = doubling(5)
    assert satisfies("{}", schema)
    assert not satisfies("[]", schema)


def test_escaped_slashes_in_references_are_resolved() -> None:
    schema = {"$ref": "#/$defs/a~1b", "$defs": {"a/b": doubling(40)["$defs"]["40"]}}
    assert satisfies("{}", schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"a": {"$anchor": "a"}}, "$ref": "#a"},
        {"$dynamicRef": "#a"},
        {"allOf": [{}], "$ref": "#/allOf/1"},
    ],
    ids=str,
)
def test_unsupported_references_are_rejected(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"not supported|does not exist"):
        schema_validator(schema)


def test_references_into_lists_are_followed_and_counted() -> None:
    levels: list[dict[str, Any]] = [{"allOf": [{"$ref": f"#/allOf/{level + 1}"}] * 2} for level in range(40)]
    with pytest.raises(ValueError, match="over 10000 parts"):
        schema_validator({"allOf": [*levels, {}]})


def test_a_deeply_nested_schema_is_rejected() -> None:
    schema: dict[str, Any] = {}
    for _ in range(400):
        schema = {"items": schema}
    with pytest.raises(ValueError, match="nested"):
        schema_validator(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": r"^https?://[^?#]+$"},
        {"type": "string", "pattern": r"^\(?\d{3}\)?[-. ]?\d{3}$"},
        {"type": "string", "pattern": r"^(?:a|b)c$"},
        {"type": "string", "pattern": r"^(?=.*[A-Z])(?!.*x)(?<=^).{8,64}$"},
        {"type": "string", "pattern": r"^(a|b)\1$"},
        {"type": "string", "pattern": r"^[\w .,!?'-]{1,1000}$"},
        {"type": "string", "pattern": r"^\p{L}{1,50}$"},
        {"enum": [{"$id": "a", "pattern": "(", "$ref": "nowhere"}]},
        {"const": {"pattern": "(?x)", "$anchor": "a"}},
        {"default": {"pattern": "("}, "examples": [{"$ref": "nowhere"}], "x-note": {"pattern": "("}},
        {"properties": {"pattern": {"type": "string"}, "$ref": {"type": "string"}, "$id": {"type": "string"}}},
        {"$defs": {"pattern": {"type": "object"}}, "dependentRequired": {"pattern": ["$ref"]}},
    ],
    ids=str,
)
def test_valid_schemas_are_accepted(schema: dict[str, Any]) -> None:
    assert JsonSchema(schema) == schema


def test_look_arounds_are_enforced() -> None:
    schema = {"type": "string", "pattern": r"^(?=.*[A-Z])(?=.*\d).{8,}$"}
    assert satisfies('"Password1"', schema)
    assert not satisfies('"password1"', schema)


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ({"properties": {str(at): {"pattern": r"(\w\W){0,8192}<i>"} for at in range(100)}}, "too many repetitions"),
        ({"patternProperties": {r"\p{L}{1,2000}": {}}}, "too many repetitions"),
        ({"pattern": "((a{0,100}){0,100}){0,100}"}, "too many repetitions"),
        ({"properties": {str(at): {"pattern": "a"} for at in range(2000)}}, "too many repetitions"),
        ({"pattern": "|".join(map(str, range(100_000)))}, "over 10000 characters"),
        ({"enum": list(range(10_001))}, "over 10000 parts"),
        ({"const": [[1] * 9000] * 60}, "over 10000 parts"),
        ({"anyOf": [{}] * 50_000}, "over 10000 parts"),
        ({"$ref": "#/" + "a/" * 10_000}, "longer than 2000 characters"),
        ({"const": [[1]] * 5000, "$ref": "#/const"}, "over 10000 parts"),
        ({"pattern": "(" * 5000}, 'is not a "regex"'),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_expensive_schema_is_rejected_quickly(schema: dict[str, Any], complaint: str) -> None:
    started_at = time.process_time()
    with pytest.raises(ValueError, match=complaint) as caught:
        schema_validator(schema)
    assert len(str(caught.value)) < 500
    assert time.process_time() - started_at < 1


def test_a_schema_is_compiled_once() -> None:
    schema = JsonSchema({"type": "object"})
    assert JsonSchema.of(schema) is schema
    assert satisfies("{}", schema)
    assert not satisfies("[]", schema)

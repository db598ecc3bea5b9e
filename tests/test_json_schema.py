import time
from typing import Any

import pytest

from services.completion import satisfies
from services.json_schema import schema_validator


def doubling(levels: int) -> dict[str, Any]:
    """Return a schema of a few hundred bytes in which each level asks for the next one twice."""
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
def test_a_schema_that_cannot_be_used_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        schema_validator(schema)


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"not": {"$ref": "#"}}, {"allOf": [{"$ref": "#"}]}], ids=str)
def test_a_schema_that_refers_to_itself_does_no_harm(schema: dict[str, Any]) -> None:
    assert isinstance(satisfies('{"keep": true}', schema), bool)


def test_a_schema_whose_references_multiply_is_refused_at_once() -> None:
    started_at = time.process_time()
    with pytest.raises(ValueError, match="over 10000 parts"):
        schema_validator(doubling(40))
    assert time.process_time() - started_at < 1


def test_references_in_reasonable_number_are_followed() -> None:
    schema = doubling(5)
    assert satisfies("{}", schema)
    assert not satisfies("[]", schema)


def test_names_with_slashes_are_found_behind_their_escapes() -> None:
    schema = {"$ref": "#/$defs/a~1b", "$defs": {"a/b": doubling(40)["$defs"]["40"]}}
    assert satisfies("{}", schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"a": {"$anchor": "a"}}, "$ref": "#a"},
        {"$dynamicRef": "#a"},
        {"allOf": [{}], "$ref": "#/allOf/1"},
        {"type": "string", "pattern": "^(?:a)$"},
        {"type": "string", "pattern": "^*$"},
    ],
    ids=str,
)
def test_what_cannot_be_bounded_or_ends_ollama_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"not taken|leads nowhere|cannot take"):
        schema_validator(schema)


def test_references_into_lists_are_followed_and_counted() -> None:
    levels: list[dict[str, Any]] = [{"allOf": [{"$ref": f"#/allOf/{level + 1}"}] * 2} for level in range(40)]
    with pytest.raises(ValueError, match="over 10000 parts"):
        schema_validator({"allOf": [*levels, {}]})


def test_a_schema_nested_without_end_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(400):
        schema = {"items": schema}
    with pytest.raises(ValueError, match="nested"):
        schema_validator(schema)

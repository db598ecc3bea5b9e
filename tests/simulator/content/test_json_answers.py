"""JSON that follows a schema."""

import json
import random
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from simulator.content.json_answers import value_for
from tests.simulator.requests import CHAT, GENERATE, whole


async def test_the_json_format_returns_json(client: aiohttp.ClientSession) -> None:
    assert json.loads((await whole(client, GENERATE, format="json"))["response"])["simulated"] is True


SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"const": "report"},
        "mood": {"enum": ["good", "bad"]},
        "title": {"type": "string", "minLength": 30, "maxLength": 32},
        "stars": {"type": "integer", "minimum": 3, "maximum": 4},
        "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 0.1},
        "ready": {"type": "boolean"},
        "note": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/note"}]},
        "tree": {"$ref": "#/$defs/tree"},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 3},
        "maybe": {"type": ["null", "string"]},
    },
    "required": ["kind", "extra"],
    "$defs": {
        "note": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        "tree": {
            "type": "object",
            "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
        },
    },
}


@pytest.mark.parametrize("seed", range(5))
async def test_a_schema_is_satisfied(client: aiohttp.ClientSession, seed: int) -> None:
    answer = await whole(client, CHAT, model="gpt-oss", format=SCHEMA, options={"seed": seed})
    assert answer["message"]["thinking"]
    made = json.loads(answer["message"]["content"])
    assert set(made) == {*SCHEMA["properties"], "extra"}
    assert made["kind"] == "report"
    assert made["mood"] in {"good", "bad"}
    assert 30 <= len(made["title"]) <= 32
    assert made["stars"] in {3, 4}
    assert 0 < made["share"] <= 0.1
    assert isinstance(made["ready"], bool)
    assert isinstance(made["note"]["text"], str)
    assert isinstance(made["tree"]["children"], list)
    assert len(made["tags"]) >= 3
    assert isinstance(made["maybe"], str)


@pytest.mark.parametrize(
    ("schema", "satisfied"),
    [
        (
            {"allOf": [{"properties": {"a": {}}, "required": ["a"]}, {"required": ["b"]}]},
            lambda v: set(v) == {"a", "b"},
        ),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}], "maximum": -7}, lambda v: v <= -7),
        ({"type": "integer", "multipleOf": 5, "exclusiveMinimum": 10, "maximum": 15}, lambda v: v == 15),
        (
            {"type": "array", "uniqueItems": True, "minItems": 3, "items": {"enum": [1, 2, 3]}},
            lambda v: set(v) == {1, 2, 3},
        ),
        ({"prefixItems": [{"type": "boolean"}, {"type": "null"}]}, lambda v: isinstance(v[0], bool) and v[1] is None),
        ({"type": "array", "maxItems": 0}, lambda v: v == []),
        ({"type": "string", "format": "date"}, lambda v: v == "2024-02-29"),
        ({"type": ["null"]}, lambda v: v is None),
        ({"minimum": 0.5, "maximum": 0.5}, lambda v: v == 0.5),
        (True, lambda v: isinstance(v, str)),
    ],
)
def test_schema_keywords_are_satisfied(schema: Any, satisfied: Callable[[Any], bool]) -> None:
    for seed in range(20):
        assert satisfied(value_for(schema, random.Random(seed)))


def test_a_recursive_schema_terminates() -> None:
    node = {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["next"],
    }
    made, depth = value_for(node, random.Random(1)), 0
    while made is not None:
        made, depth = made["next"], depth + 1
    assert depth > 1

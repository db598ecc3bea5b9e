"""Schemas that become grammars, as in Ollama 0.24."""

import json
from typing import Any

import aiohttp
import pytest

from simulator.content.grammars import has_grammar
from tests.simulator.requests import CHAT, GENERATE, JSON


@pytest.mark.parametrize("wanted", ["yaml", 3, ["a"], '{"type":"object"}', True])
async def test_an_invalid_format_gets_500_also_when_streamed(client: aiohttp.ClientSession, wanted: object) -> None:
    for stream, media_type in ((True, "application/json"), (False, JSON)):
        async with client.post("/api/chat", json=CHAT | {"format": wanted, "stream": stream}) as response:
            assert response.status == 500
            assert response.headers["Content-Type"] == media_type
            assert json.loads(await response.read())["error"].startswith("invalid format: ")


@pytest.mark.parametrize("more", [{}, {"truncate": False, "options": {"num_ctx": 4}}])
@pytest.mark.parametrize(("path", "body"), [("/api/generate", GENERATE), ("/api/chat", CHAT)])
async def test_before_0_30_a_schema_without_a_grammar_gets_500(
    old_client: aiohttp.ClientSession, path: str, body: dict[str, Any], more: dict[str, Any]
) -> None:
    client = old_client
    for stream, media_type in ((True, "application/json"), (False, JSON)):
        asked = body | more | {"format": {"type": "banana"}, "stream": stream}
        async with client.post(path, json=asked) as response:
            assert (response.status, response.headers["Content-Type"]) == (500, media_type)
            assert json.loads(await response.read()) == {"error": "invalid JSON schema in format"}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_schema_of_no_known_type_gets_400_in_llama_servers_words(
    client: aiohttp.ClientSession, stream: bool
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "banana"}}}
    async with client.post("/api/generate", json=GENERATE | {"format": schema, "stream": stream}) as response:
        assert response.status == 400
        error = json.loads(json.loads(await response.read())["error"])["error"]
    assert error["message"].endswith("unrecognized type banana")
    for taken in ({"type": "string", "pattern": "abc"}, {"required": ["a"]}):
        async with client.post("/api/generate", json=GENERATE | {"format": taken, "stream": stream}) as response:
            assert response.status == 200


@pytest.mark.parametrize(
    "schema",
    [
        {}, {"type": "null"}, {"type": ["string", "null"]}, {"const": 1}, {"enum": []}, {"properties": {}},
        {"type": "object", "not": {}}, {"type": "object", "properties": {"a": {}}}, {"additionalProperties": False},
        {"items": {"type": "string"}}, {"prefixItems": [{"type": "string"}]}, {"type": "array", "contains": {}},
        {"type": "string", "pattern": "^a$"}, {"pattern": "^a$"}, {"type": "number", "pattern": "a"},
        {"type": "string", "enum": ["a"], "pattern": "a"}, {"format": "uuid"}, {"type": "string", "format": "email"},
        {"allOf": [{"type": "string", "pattern": "a"}]}, {"$ref": "https://example.org/a"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}}}},
        {"type": "string", "$defs": {"a": {"type": "string", "pattern": "a"}}},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_a_schema_has_a_grammar(schema: dict[str, Any]) -> None:
    assert has_grammar(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "banana"}, {"type": ["string", "banana"]}, {"type": 1}, {"not": {}}, {"title": "a"}, {"minimum": 1},
        {"format": "email"}, {"format": []}, {"required": ["a"]}, {"patternProperties": {"a": {}}},
        {"type": "object", "properties": {"a": True}}, {"type": "object", "properties": {"a": {"minimum": 3}}},
        {"type": "object", "additionalProperties": {"type": "string", "pattern": "a"}},
        {"type": "array", "items": {"not": {}}}, {"anyOf": [{"type": "string"}, {"not": {}}]}, {"anyOf": 1},
        {"type": "string", "pattern": "a"}, {"pattern": ""},
        {"allOf": [{"properties": {"a": {"type": "string", "pattern": "a"}}}]},
        {"$ref": "#"}, {"$ref": "#a", "$anchor": "a"}, {"type": "object", "$ref": "#/nope"},
        {"type": "string", "$defs": {"a": {"$ref": "#/nope"}}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "string", "pattern": "a"}}},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_a_schema_has_no_grammar(schema: dict[str, Any]) -> None:
    assert not has_grammar(schema)

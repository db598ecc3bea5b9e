"""Effects of schemas on Ollama, as observed with 0.24 and 0.33."""

from typing import Any

import pytest

from services.ollama.types.grammar_harm import Harm, find_harm
from services.ollama.types.json_schema import resolver

RUNNER, SERVER, EVERY = Harm.ENDS_RUNNER_BEFORE_0_30, Harm.ENDS_SERVER_BEFORE_0_30, Harm.HARMS_EVERY_VERSION

TAKEN = [
    r"^https?://[^?#]+$",
    "^[^*]+$",
    "^[a-z|*]+$",
    "^[0-9 (+)-]+$",
    r"^a\|+$",
    r"^\(+x$",
    r"^\+?[0-9]{7,15}$",
    "^[a-z]{2,4}$",
    "^(ab){2}$",
    "^(a|)$",
    "^()$",
    "^$",
    "^a{0}$",
    "^a{2000}$",
    "^a{1,2}{2}$",
    "^a??$",
    "^a||b$",
    '^"x"$',
    "^[é-ü]+$",
    "^é+$",
    r"^\x41\u0041\n$",
    r"^a\]b\}$",
    r"^[a\]]$",
    "^a$b$",
    "^(a$",  # the converter closes it
    "^a)$",
    "^" + "(" * 100 + "a" + ")" * 100 + "$",
]
REFUSED_BY_OLLAMA = [
    "abc",
    "*a",
    "(?x)a",
    "",
    "^",
    "^[a-z$",
    "^a{x}$",
    "^{x}$",
    "^a{}$",
    "^a{99999999999}$",
    "^[a]{1,2,3}$",
]
ENDS_SERVER = [
    "^(?:a|b)c$",
    "^(?=a)b$",
    "^(?i)a$",
    "^+a$",
    "^*$",
    "^(+a)$",
    "^{2}$",
    "^({2})$",
    "^a]$",  # an endless loop, as the next five
    r"^\{a}$",
    r"^\[a]$",
    "^[]a]$",
    "^[^]a]$",
    "^(a?|b?){30}$",
    "^" + "(" * 20_000 + "a" + ")" * 20_000 + "$",
]
ENDS_RUNNER = [
    r"^\(?\d{3}\)?[-. ]?\d{3}$",
    r"^\d+$",
    r"^\w$",
    r"^[\d]+$",
    r"^[\w.]+@[\w.]+$",
    r"^a\/b$",
    r"^\-a$",
    r"^[a\-z]+$",
    r"^[\.]$",
    r"^\bfoo\b$",
    r"^(a)\1$",
    r"^[\x]$",
    r"^a\x4$",
    r"^a\u00e$",
    r"^a\$",
    "^a**$",
    "^a|+b$",
    "^a|{2}b$",
    "^a{0}*b$",
    r"^\(!\.[\d-]{0}$",
    "^a{2001}$",
    "^(a*)*$",
    "^(a{0,3})+$",
    "^(a|b*)+$",
    "^[\0]$",
]
SCHEMAS: list[tuple[dict[str, Any], Harm | None]] = [
    ({"type": ["string", "null"], "pattern": "^+a$"}, SERVER),
    ({"pattern": "^+a$"}, SERVER),
    ({"type": "string", "format": "date", "pattern": "^+a$"}, SERVER),
    ({"properties": {"a": {"pattern": "^+a$"}}}, SERVER),
    ({"properties": {"a": {"pattern": r"^\d$"}, "b": {"pattern": "^+a$"}}}, SERVER),
    ({"additionalProperties": {"pattern": "^+a$"}}, SERVER),
    ({"items": {"pattern": "^+a$"}}, SERVER),
    ({"prefixItems": [{}, {"pattern": "^+a$"}]}, SERVER),
    ({"anyOf": [{}, {"pattern": "^+a$"}]}, SERVER),
    ({"oneOf": [{"pattern": "^+a$"}]}, SERVER),
    ({"allOf": [{"properties": {"a": {"pattern": "^+a$"}}}]}, SERVER),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"pattern": "^+a$"}}}, SERVER),
    ({"$ref": "#/x/a", "x": {"a": {"items": {"$ref": "#/x/a"}, "type": "array"}}}, None),
    ({"type": "integer", "pattern": "^+a$"}, None),
    ({"enum": ["x"], "pattern": "^+a$"}, None),
    ({"const": {"pattern": "^+a$"}}, None),
    ({"type": "string", "not": {"pattern": "^+a$"}}, None),
    ({"type": "string", "allOf": [{"pattern": "^+a$"}]}, None),
    ({"type": "string", "if": {"pattern": "^+a$"}}, None),
    ({"type": "string", "$defs": {"a": {"pattern": "^+a$"}}}, None),
    ({"type": "object", "patternProperties": {"^+a$": {}}, "propertyNames": {"pattern": "^+a$"}}, None),
    ({"properties": {"pattern": {"type": "string"}}}, None),
    ({"type": "string", "minLength": 3, "maxLength": 2}, EVERY),
    ({"type": "string", "minLength": 3, "maxLength": 0}, None),
    ({"minLength": 3, "maxLength": 2}, EVERY),
    ({"maxLength": 5000}, None),
    ({"type": "string", "format": "date", "minLength": 3, "maxLength": 2}, None),
    ({"type": "string", "format": "email", "minLength": 3, "maxLength": 2}, EVERY),
    ({"type": ["string", "null"], "minLength": 3, "maxLength": 2}, EVERY),
    ({"type": "integer", "minLength": 3, "maxLength": 2}, None),
    ({"type": "string", "pattern": "^a$", "minLength": 3, "maxLength": 2}, None),
    ({"type": "string", "not": {"minLength": 3, "maxLength": 2}}, None),
    ({"type": "array", "minItems": 3, "maxItems": 2}, EVERY),
    ({"type": "array", "maxItems": 5000}, None),
    ({"type": "string", "minLength": 1, "maxLength": 2000}, None),
    ({"type": "string", "maxLength": 5000}, RUNNER),
    ({"type": "string", "format": "date", "maxLength": 5000}, None),
    ({"items": {}, "minItems": 3, "maxItems": 2}, EVERY),
    ({"items": {}, "minItems": 3, "maxItems": 1}, None),
    ({"items": {}, "maxItems": 2001}, None),
    ({"items": {}, "maxItems": 2002}, RUNNER),
    ({"items": [{}], "maxItems": 5000}, None),
    ({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#/$defs/a"}}}, EVERY),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, RUNNER),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}}}, RUNNER),
    ({"$ref": "#"}, None),
    ({"properties": {"a]": {}}, "additionalProperties": True}, RUNNER),
    ({"properties": {"a]": {}}}, None),
]


def harm(schema: dict[str, Any]) -> Harm | None:
    found = find_harm(schema, resolver(schema))
    return found.harm if found else None


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [(pattern, None) for pattern in TAKEN + REFUSED_BY_OLLAMA]
    + [(pattern, SERVER) for pattern in ENDS_SERVER]
    + [(pattern, RUNNER) for pattern in ENDS_RUNNER]
    + [("^a{2,1}$", EVERY)],
    ids=lambda value: repr(value)[:40],
)
def test_the_harm_of_patterns_is_as_observed(pattern: str, expected: Harm | None) -> None:
    assert harm({"type": "string", "pattern": pattern}) is expected


@pytest.mark.parametrize(("schema", "expected"), SCHEMAS, ids=lambda value: str(value)[:60])
def test_the_harm_of_schemas_is_as_observed(schema: dict[str, Any], expected: Harm | None) -> None:
    assert harm(schema) is expected

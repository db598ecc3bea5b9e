"""What tests of Ollama's own API share: parameters, and the check of errors in Ollama's format."""

import json

import pytest

from tests.kinds import NATIVES, Seen

TEXT = "an upstream's own words <&>"
CONTROL = [("POST", "/api/show"), ("GET", "/api/tags"), ("GET", "/api/ps"), ("GET", "/api/version")]
every_kind = pytest.mark.parametrize("kind", NATIVES, ids=lambda kind: kind.name)


def error_in(answer: Seen | bytes) -> str:
    """Return the message of an error in Ollama's format; a whole response must also be complete JSON."""
    if isinstance(answer, Seen):
        assert answer.headers["Content-Type"] == "application/json"
        assert not answer.cut
    document = json.loads(answer.body if isinstance(answer, Seen) else answer)
    assert list(document) == ["error"]
    text = document["error"]
    assert isinstance(text, str)
    assert "127.0.0.1" not in text
    return text

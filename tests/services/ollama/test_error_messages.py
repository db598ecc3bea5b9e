"""Messages in error responses, and in the lines of a 200."""

import json

import pytest

from services.ollama.error_mapping import error_from_response, error_in
from services.ollama.error_messages import MAX_MESSAGE_LENGTH, sanitize_message
from services.ollama.errors import (
    OllamaBusyError,
    OllamaError,
    OllamaResponseError,
)
from tests.api import NEVER_SHOWN

WORDS = "the model needs more memory than there is"
NESTED = json.dumps({"error": {"code": 400, "message": WORDS}})
DOCUMENTS = [
    {"error": WORDS},
    {"error": WORDS, "signin_url": "https://ollama.com/connect?name=host&key=abc"},
    {"error": {"message": WORDS, "type": "api_error", "param": None, "code": None}},
    {"error": {"code": 500, "message": NESTED}},
    {"error": NESTED},
    {"error": f"llama-server error: {NESTED}"},
    {"error": {"error": {"message": WORDS}}},
    {"error": None, "message": WORDS},
    {"message": WORDS},
    {"detail": WORDS},
    {"detail": [{"loc": ["body"], "msg": WORDS, "type": "x"}]},
    {"errors": [{"message": WORDS}]},
    {"type": "about:blank", "title": WORDS},
    {"StatusCode": 500, "Status": f"500 {WORDS}"},
    {"StatusCode": 500, "Status": "500 Internal Server Error", "error": WORDS},
    [{"error": WORDS}],
    WORDS,
    {"error": f"\n\n  {WORDS}\nand a second line"},
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_the_message_is_kept_in_every_known_format(document: object) -> None:
    for status in (400, 401, 402, 403, 409, 429, 500, 502, 503):
        error = error_from_response(status, json.dumps(document).encode(), None)
        assert WORDS in error.detail, status
        assert "{" not in error.detail, status
        assert "second line" not in error.detail, status
        assert not NEVER_SHOWN.search(error.detail), status


@pytest.mark.parametrize("status", [401, 402, 403, 429, 500, 502, 503, 504])
def test_the_message_may_be_plain_text(status: int) -> None:
    assert WORDS in error_from_response(status, f"{WORDS}\n".encode(), None).detail


@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>nginx at http://10.1.2.3</body></html>",
        b"\n<!DOCTYPE html><title>502</title>",
        b'{"error": "<html><body>gateway</body></html>"}',
        b'{"error": "Traceback (most recent call last):\\n  File \\"x.py\\""}',
        b"Traceback (most recent call last):",
        b'{"error": ',
        b'{"error": ""}',
        b'{"error": null}',
        b'{"error": {}}',
        b'{"error": []}',
        b'{"error": 5}',
        b"null",
        b"[]",
        b"7",
        b"\xff\xfe\x00",
        b"\x00\x01",
        b" \n ",
        b"",
    ],
)
def test_a_body_without_a_message_is_not_shown(body: bytes) -> None:
    for status in (301, 400, 401, 403, 404, 405, 413, 429, 500, 502, 503, 504):
        error = error_from_response(status, body, None)
        assert not NEVER_SHOWN.search(error.detail), status
        assert not set("<>{}[]\x00\xff") & set(error.detail), status
        assert error.detail.endswith("."), status
        assert "None" not in error.detail, status


@pytest.mark.parametrize(
    "message",
    [
        "dial tcp 10.1.2.3:11434: connect: connection refused",
        "dial tcp [fe80::1%eth0]:443: i/o timeout",
        "dial tcp ::1:11434: refused",
        "lookup gpu-7.internal on 10.0.0.53:53: no such host",
        "dial tcp gpu-7.internal:443: refused",
        "upstream gpu-7.internal:11434 did not answer",
        "upstream gpu-7:11434 did not answer",
        'Post "http://gpu-7.internal:8080/completion": EOF',
        "open /root/.ollama/models/gpu-7: permission denied",
        "localhost:11434 refused",
    ],
)
def test_addresses_and_paths_are_removed(message: str) -> None:
    shown = sanitize_message(message) or ""
    assert not any(part in shown for part in ("gpu-7", "10.", "fe80", "::1", "/root", "localhost", "11434"))
    assert shown


@pytest.mark.parametrize(
    "message", ["llama3.1:8b needs gpt-oss:20b", "std::bad_alloc", "ns/model:tag", "took 12:30:45", "at 50%: 3/4"]
)
def test_other_text_is_kept(message: str) -> None:
    assert sanitize_message(message) == message


def test_a_message_is_one_printable_line_of_limited_length() -> None:
    shown = sanitize_message("a\x1b[2J\tb" + "x" * 10_000_000) or ""
    assert len(shown) <= MAX_MESSAGE_LENGTH
    assert shown.isprintable()


# Errors in a 200


@pytest.mark.parametrize(
    "document",
    [document for document in DOCUMENTS if isinstance(document, dict) and not {"errors", "title"} & set(document)],
    ids=str,
)
def test_an_error_line_may_have_any_known_format(document: dict[str, object]) -> None:
    if isinstance(document.get("detail"), list):
        document = {"error": document}
    error = error_in(document)
    assert isinstance(error, OllamaResponseError)
    assert WORDS in error.detail
    assert error.retryable is False


@pytest.mark.parametrize("document", [{"error": ""}, {"error": None}, {"error": {}}, {"StatusCode": 500}], ids=str)
def test_an_error_line_may_have_no_message(document: dict[str, object]) -> None:
    error = error_in(document)
    assert isinstance(error, OllamaResponseError)
    assert error.detail == "Ollama failed without an error message."


@pytest.mark.parametrize(
    ("document", "kind", "status"),
    [
        ({"error": "no", "StatusCode": 429}, OllamaBusyError, None),
        ({"error": "no", "StatusCode": 503}, OllamaBusyError, None),
        ({"error": "you have reached your weekly usage limit"}, OllamaBusyError, None),
        ({"error": "no", "StatusCode": 401}, OllamaResponseError, 401),
        ({"error": "no", "StatusCode": "x"}, OllamaResponseError, 500),
    ],
    ids=str,
)
def test_an_error_line_is_never_retryable(
    document: dict[str, object], kind: type[OllamaError], status: int | None
) -> None:
    error = error_in(document)
    assert type(error) is kind
    assert error.retryable is False
    assert getattr(error, "status", None) == status


@pytest.mark.parametrize(
    "document",
    [
        {"response": "a", "done": False},
        {"response": "a", "done": False, "error": None},
        {"done": True, "error": ""},
        {"response": "a"},
        {"message": {"content": "a"}},
        {"models": None},
        {"version": "1"},
        {"embeddings": []},
        {"new_field": {"error": "not ours"}},
        {},
    ],
    ids=str,
)
def test_other_lines_are_not_errors(document: dict[str, object]) -> None:
    assert error_in(document) is None

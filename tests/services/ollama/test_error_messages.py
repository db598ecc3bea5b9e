"""Messages in error responses."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from services.ollama.error_mapping import error_from_response, error_in
from services.ollama.error_messages import MAX_MESSAGE_LENGTH, sanitize_message
from services.ollama.errors import (
    NoSuchEndpointError,
    NotFoundError,
    OllamaBusyError,
    OllamaError,
    OllamaResponseError,
    OllamaUnavailableError,
    RejectedByOllamaError,
)
from services.ollama.retry import parse_retry_after
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


# Error classes


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, b'{"error":"model not found"}', NotFoundError),
        (404, b'{"error":{"message":"model not found"}}', NotFoundError),
        (404, b"404 page not found", NoSuchEndpointError),
        (404, b'{"detail":"Not Found"}', NoSuchEndpointError),
        (404, b"<html>", NoSuchEndpointError),
        (404, b"", NoSuchEndpointError),
        (400, b'{"error":"no"}', RejectedByOllamaError),
        (400, b'{"error":{"message":"no"}}', RejectedByOllamaError),
        (400, b"<html>400 Bad Request</html>", OllamaResponseError),
        (400, b"400 Bad Request: missing required Host header", OllamaResponseError),
        (400, b"Client sent an HTTP request to an HTTPS server.\n", OllamaUnavailableError),
        (400, b"<html>The plain HTTP request was sent to HTTPS port</html>", OllamaUnavailableError),
        (429, b"", OllamaBusyError),
        (503, b"<html>", OllamaBusyError),
    ],
)
def test_the_error_depends_on_the_status_and_the_format(status: int, body: bytes, kind: type[OllamaError]) -> None:
    assert type(error_from_response(status, body, None)) is kind


@pytest.mark.parametrize(
    ("status", "body", "hint"),
    [
        (301, b"", "Redirects are not followed"),
        (308, b"<html>", "OLLAMA_BASE_URL"),
        (401, b'{"error":"unauthorized"}', "OLLAMA_API_KEY"),
        (401, b"", "OLLAMA_API_KEY"),
        (401, b'{"error":"unauthorized","signin_url":"https://ollama.com/connect"}', "`ollama signin`"),
        (403, b"", "Host or Origin"),
        (403, b"forbidden", "Host or Origin"),
        (405, b"<html>", "not Ollama"),
        (405, b"405 method not allowed", "not Ollama"),
        (413, b"<html>", "larger"),
        (502, b"<html>", "gateway"),
        (504, b"", "gateway"),
    ],
)
def test_a_status_without_a_message_is_explained(status: int, body: bytes, hint: str) -> None:
    error = error_from_response(status, body, None)
    assert f"status {status}" in error.detail
    assert hint in error.detail
    assert error.retryable is False


USED_UP = [
    {"error": "you (acct) have reached your weekly usage limit, upgrade for higher limits: https://ollama.com/upgrade"},
    {"error": "you've reached your hourly usage limit, please wait"},
    {"error": "Monthly limit reached"},
    {"error": "You exceeded your current quota, please check your plan and billing details."},
    {"error": {"message": "No.", "code": "insufficient_quota"}},
    {"error": {"message": "No.", "type": "usage_limit_reached"}},
    {"error": "limit of 50 requests per day reached"},
    {"error": "your credit balance is too low"},
    {"message": "session usage limit reached"},
    {"detail": "weekly usage limit reached"},
]
RATE_LIMITS = [
    {"error": "rate limit exceeded, try again in 2s"},
    {"error": "too many requests"},
    {"error": "too many concurrent requests"},
    {"error": "Quota exceeded for quota metric 'Requests per minute'"},
    {"error": "server busy, please try again.  maximum pending requests exceeded"},
    {},
]


@pytest.mark.parametrize("document", USED_UP, ids=str)
def test_an_exhausted_quota_is_not_retryable(document: object) -> None:
    error = error_from_response(429, json.dumps(document).encode(), "7")
    assert isinstance(error, OllamaBusyError)
    assert (error.retryable, error.retry_after_seconds) == (False, 7)
    assert error_from_response(503, json.dumps(document).encode(), None).retryable is True


@pytest.mark.parametrize("document", RATE_LIMITS, ids=str)
@pytest.mark.parametrize("status", [429, 503])
def test_an_exceeded_rate_limit_is_retryable(document: object, status: int) -> None:
    error = error_from_response(status, json.dumps(document).encode(), None)
    assert isinstance(error, OllamaBusyError)
    assert error.retryable is True


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


# Retry-After


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("1.5", 1.5),
        ("86400", 3600),
        ("9" * 400, 3600),
        ("-5", None),
        ("", None),
        (None, None),
        ("soon", None),
        ("7 seconds", None),
        ("7, 8", None),
        ("nan", None),
        ("inf", None),
        ("\u0663", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("Wed Oct 21 07:28:00 2015", None),
        ("Wed Oct 21 07:28:00 2199", 3600),
        ("Wed, 21 Oct 2199 07:28:00 GMT", 3600),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value) == seconds


def test_retry_after_as_a_date() -> None:
    value = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < (parse_retry_after(value) or 0) <= 30

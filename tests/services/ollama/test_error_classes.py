"""Which exception a response becomes by its status and format, and whether it is retryable."""

import json

import pytest

from services.ollama.error_mapping import error_from_response
from services.ollama.errors import (
    NoSuchEndpointError,
    NotFoundError,
    OllamaBusyError,
    OllamaError,
    OllamaResponseError,
    OllamaUnavailableError,
    RejectedByOllamaError,
)


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

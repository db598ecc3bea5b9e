"""The error for a response that is no success: by its status, or an error object in a 200.

See https://docs.ollama.com/api/errors.
"""

from typing import Any

import orjson

from services.ollama.error_messages import error_message, plain_text_message, says_quota_is_used_up
from services.ollama.errors import (
    NoSuchEndpointError,
    NotFoundError,
    OllamaBusyError,
    OllamaError,
    OllamaResponseError,
    OllamaUnavailableError,
    RejectedByOllamaError,
)
from services.ollama.retry_after import parse_retry_after

BUSY_STATUSES = (429, 503)
HINTS = {
    401: "A key may be missing or wrong (OLLAMA_API_KEY).",
    403: "Ollama, or a proxy in front of it, does not accept requests under this Host or Origin, or with this key.",
    405: "What answers may be too old, or not Ollama.",
    407: "A proxy in front of Ollama wants credentials.",
    413: "The request is larger than Ollama, or a proxy in front of it, accepts.",
    502: "A gateway in front of Ollama got no answer from it.",
    504: "A gateway in front of Ollama waited too long for its answer.",
}
SIGN_IN = "Ollama is not signed in; `ollama signin` does so."


def error_from_response(status: int, body: bytes, retry_after: str | None) -> OllamaError:
    """Return the error for an answer with this status, body and `Retry-After` header."""
    try:
        document = orjson.loads(body)
        message = error_message(document)
    except orjson.JSONDecodeError:
        document, message = None, plain_text_message(body)
    match status:
        case 503 | 429:
            return _busy(status, document, message, retry_after)
        case 404 if message is not None and isinstance(document, dict) and document.get("error"):
            return NotFoundError(message)
        case 404:
            return NoSuchEndpointError("Ollama does not have this endpoint; it may be too old, or not Ollama.")
        case 400 if document is None and b"HTTPS" in body:
            return tls_error("the server speaks TLS; the address needs https")
        case 400 if message is not None and document is not None:
            return RejectedByOllamaError(f"Ollama refused the request: {message}")
        case _:
            return OllamaResponseError(_detail(status, document, message), status=status)


def tls_error(log_detail: str) -> OllamaUnavailableError:
    """Return the error for an address whose scheme, port or certificate cannot work: to try again does not help."""
    detail = "Ollama could not be reached, and trying again does not help; the service's log says why."
    return OllamaUnavailableError(detail, retryable=False, log_detail=log_detail)


def error_in(document: dict[str, Any]) -> OllamaError | None:
    """Return the error that the body or a line of a 200 tells of, if it does.

    It may have run, so it is never retryable.
    """
    given = document.get("error")
    status = _status_in(document)
    if not given and ("done" in document or not ("error" in document or status or _is_message_alone(document))):
        return None
    message = error_message(document)
    detail = f"Ollama failed: {message}" if message else "Ollama failed and did not say why."
    if status in BUSY_STATUSES or says_quota_is_used_up(document, message):
        return OllamaBusyError(detail, retryable=False)
    return OllamaResponseError(detail, status=status or 500)


def _busy(status: int, document: object, message: str | None, retry_after: str | None) -> OllamaBusyError:
    wait_seconds = parse_retry_after(retry_after)
    if status == 429 and says_quota_is_used_up(document, message):  # noqa: PLR2004
        return OllamaBusyError(f"Ollama takes no more requests: {message}", wait_seconds=wait_seconds, retryable=False)
    detail = "Ollama is busy and takes no more requests at the moment"
    return OllamaBusyError(f"{detail}: {message}" if message else f"{detail}.", wait_seconds=wait_seconds)


def _detail(status: int, document: object, message: str | None) -> str:
    said = f"Ollama answered with status {status}" + (f": {message}" if message else ".")
    if status == 401 and isinstance(document, dict) and document.get("signin_url"):  # noqa: PLR2004
        return f"{_sentence(said)} {SIGN_IN}"
    if 300 <= status < 400:  # noqa: PLR2004
        return f"{_sentence(said)} Redirects are not followed; OLLAMA_BASE_URL has to be the address of Ollama itself."
    hint = HINTS.get(status)
    is_explained = message is not None and document is not None and status != 401  # noqa: PLR2004
    return said if hint is None or is_explained else f"{_sentence(said)} {hint}"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _status_in(document: dict[str, Any]) -> int | None:
    value = document.get("StatusCode") or document.get("status_code")
    return value if type(value) is int and value >= 400 else None  # noqa: PLR2004


def _is_message_alone(document: dict[str, Any]) -> bool:
    return isinstance(document.get("message") or document.get("detail"), str)

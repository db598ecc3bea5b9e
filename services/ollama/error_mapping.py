"""Mapping of failures to `OllamaError`: responses by their status or error object, and aiohttp's exceptions.

See https://docs.ollama.com/api/errors.
"""

import os
import re
from typing import Any

import aiohttp
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
from services.ollama.retry import parse_retry_after

BUSY_STATUSES = (429, 503)
HINTS = {
    401: "A key may be missing or wrong (OLLAMA_API_KEY).",
    403: "Ollama, or a proxy in front of it, does not accept requests under this Host or Origin, or with this key.",
    405: "The server may be too old, or not Ollama.",
    407: "A proxy in front of Ollama requires credentials.",
    413: "The request is larger than Ollama, or a proxy in front of it, accepts.",
    502: "A gateway in front of Ollama got no response from it.",
    504: "A gateway in front of Ollama timed out waiting for it.",
}
NO_EMBEDDINGS = "does not support embeddings"  # llama-server's error for a model that writes text, from Ollama 0.30 on
SIGN_IN = "Ollama is not signed in; `ollama signin` does so."

TLS_ALERT = re.compile(r"b['\"]\\x15\\x03\\x0[0-4]\\x00\\x02[^ ]{1,8}['\"]")
"""How aiohttp's error text shows the TLS alert that a TLS server sends in reply to plain HTTP."""


def error_from_response(status: int, body: bytes, retry_after: str | None) -> OllamaError:
    """Return the error for a response with this status, body and `Retry-After` header."""
    try:
        document = orjson.loads(body)
        message = error_message(document)
    except orjson.JSONDecodeError:
        document, message = None, plain_text_message(body)
    match status:
        case 503 | 429:
            return _busy(status, document, message, retry_after)
        case 404:
            return _not_found(document, message)
        case 400 if document is None and b"HTTPS" in body:
            return tls_error("the server speaks TLS; the address needs https")
        case 500 | 501 if message is not None and NO_EMBEDDINGS in message:
            return RejectedByOllamaError("Ollama rejected the request: the model does not support embeddings.")
        case 400 if message is not None and document is not None:
            return RejectedByOllamaError(f"Ollama rejected the request: {message}")
        case _:
            return OllamaResponseError(_detail(status, document, message), status=status)


def _not_found(document: Any, message: str | None) -> OllamaError:
    if message is not None and isinstance(document, dict) and document.get("error"):
        return NotFoundError(message)
    return NoSuchEndpointError("Ollama does not have this endpoint; it may be too old, or not Ollama.")


def tls_error(log_detail: str) -> OllamaUnavailableError:
    """Return the error for a TLS failure, which a retry cannot fix: wrong scheme, port or certificate."""
    detail = "Ollama could not be reached, and retrying does not help; see the service's log for the reason."
    return OllamaUnavailableError(detail, retryable=False, log_detail=log_detail)


def error_in(document: dict[str, Any]) -> OllamaError | None:
    """Return the error reported in the body or a line of a 200 response, or None.

    The request may have run, so the error is never retryable.
    """
    error = document.get("error")
    status = _status_in(document)
    if not error and ("done" in document or not ("error" in document or status or _is_message_alone(document))):
        return None
    message = error_message(document)
    detail = f"Ollama failed: {message}" if message else "Ollama failed without an error message."
    if status in BUSY_STATUSES or says_quota_is_used_up(document, message):
        return OllamaBusyError(detail, retryable=False)
    return OllamaResponseError(detail, status=status or 500)


def _busy(status: int, document: object, message: str | None, retry_after: str | None) -> OllamaBusyError:
    wait_seconds = parse_retry_after(retry_after)
    if status == 429 and says_quota_is_used_up(document, message):  # noqa: PLR2004
        return OllamaBusyError(
            f"Ollama accepts no more requests: {message}", wait_seconds=wait_seconds, retryable=False
        )
    detail = "Ollama is busy and accepts no more requests at the moment"
    return OllamaBusyError(f"{detail}: {message}" if message else f"{detail}.", wait_seconds=wait_seconds)


def _detail(status: int, document: object, message: str | None) -> str:
    detail = f"Ollama responded with status {status}" + (f": {message}" if message else ".")
    if status == 401 and isinstance(document, dict) and document.get("signin_url"):  # noqa: PLR2004
        return f"{_with_full_stop(detail)} {SIGN_IN}"
    if 300 <= status < 400:  # noqa: PLR2004
        return f"{_with_full_stop(detail)} Redirects are not followed; set OLLAMA_BASE_URL to Ollama's own address."
    hint = HINTS.get(status)
    is_explained = message is not None and document is not None and status != 401  # noqa: PLR2004
    return detail if hint is None or is_explained else f"{_with_full_stop(detail)} {hint}"


def _with_full_stop(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _status_in(document: dict[str, Any]) -> int | None:
    value = document.get("StatusCode") or document.get("status_code")
    return value if type(value) is int and value >= 400 else None  # noqa: PLR2004


def _is_message_alone(document: dict[str, Any]) -> bool:
    return isinstance(document.get("message") or document.get("detail"), str)


def invalid_response() -> OllamaResponseError:
    """Return the error for a response that is not valid JSON of the expected kind."""
    return OllamaResponseError("Ollama's response could not be parsed.")


def map_aiohttp_error(error: Exception) -> OllamaError:
    """Map an aiohttp exception to `OllamaError`; the exact cause goes to the log only."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return tls_error(f"certificate: {_tls_reason(error.os_error)}")
        case aiohttp.ClientConnectorSSLError():
            return tls_error(f"TLS: {_tls_reason(error.os_error)}")
        case aiohttp.ClientConnectorError():
            return OllamaUnavailableError("Ollama could not be reached.", log_detail=_network_reason(error))
        case aiohttp.ClientConnectionError():
            return OllamaResponseError("Ollama closed the connection before its response.")
        case aiohttp.ClientPayloadError():
            return OllamaResponseError("Ollama's response was cut short.")
    is_tls_alert = TLS_ALERT.search(str(error)) is not None
    return tls_error("the server speaks TLS; the address needs https") if is_tls_alert else invalid_response()


def _tls_reason(error: Exception) -> str:
    reason = getattr(error, "verify_message", None) or getattr(error, "reason", None) or type(error).__name__
    return str(reason).replace("_", " ").lower() if str(reason).isupper() else str(reason)


def _network_reason(error: aiohttp.ClientConnectorError) -> str:
    cause = error.os_error
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"DNS: {cause.strerror or cause}"
    if isinstance(cause, ConnectionResetError):
        return "TLS: the handshake was cut off"
    return f"network: {os.strerror(cause.errno)}" if cause.errno else f"network: {type(cause).__name__}"

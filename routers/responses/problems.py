"""Errors as problem documents (RFC 9457), with the status of each error code."""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from routers.responses.error_formats import error_format
from server.observability.request_log import note, request_id
from services.ollama.errors import InvalidRequestError, ModelNotFoundError, OllamaError

MAX_FIELDS = 20
MAX_NAME_LENGTH = 200
MEDIA_TYPE = "application/problem+json"

PROBLEMS_BY_CODE: dict[str, tuple[int, str]] = {
    "invalid_request": (422, "The request is not valid"),
    "model_not_found": (404, "The model is not installed"),
    "rejected_by_ollama": (400, "Ollama rejected the request"),
    "unsupported_parameter": (400, "The parameter is not supported"),
    "unsupported_by_model": (400, "The model lacks a capability"),
    "ollama_unavailable": (503, "Ollama cannot be reached"),
    "ollama_busy": (503, "Ollama is busy"),
    "model_stuck": (503, "The model does not respond"),
    "overloaded": (503, "Too many requests are waiting"),
    "shutting_down": (503, "The service is shutting down"),
    "timeout": (504, "A timeout expired"),
    "ollama_error": (502, "Ollama failed"),
    "unauthorized": (401, "An API key is required"),
    "not_offered": (403, "The endpoint is not available"),
    "host_not_allowed": (421, "The host name is not allowed"),
    "bad_request": (400, "The request is not valid HTTP"),
    "request_timeout": (408, "The request did not arrive in time"),
    "payload_too_large": (413, "The request is too large"),
    "unsupported_media_type": (415, "The encoding of the body is not supported"),
    "headers_too_large": (431, "The headers are too large"),
    "not_found": (404, "The path does not exist"),
    "method_not_allowed": (405, "The method is not allowed"),
    "internal_error": (500, "Internal error"),
}

EXPECTED_ERRORS = (OllamaError, RequestValidationError, HTTPException)
HTTP_CODES = {
    400: "invalid_request",
    403: "not_offered",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "payload_too_large",
    415: "unsupported_media_type",
    503: "overloaded",
}
NO_SUCH_PATH = "The path does not exist. This service's API is under /api/ollama; the page at / has links to the rest."
RETRYABLE_STATUSES = {408, 503}  # of those above: the request did not run and may succeed later


class ProblemResponse(Response):
    """A problem document; converted to the error format of the API that was called."""

    def __init__(self, document: dict[str, Any], headers: Mapping[str, str] | None) -> None:
        super().__init__(orjson.dumps(document), document["status"], headers, MEDIA_TYPE)
        self._document = document
        self._given_headers = headers or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        convert = error_format(scope)
        if convert is None:
            await super().__call__(scope, receive, send)
            return
        content, headers = convert(self._document, scope)
        response = Response(
            orjson.dumps(content), self.status_code, {**self._given_headers, **headers}, "application/json"
        )
        await response(scope, receive, send)


def problem(
    code: str,
    detail: str,
    *,
    retryable: bool = False,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> Response:
    """Return a problem document; `members` are additional members, such as `errors`."""
    status, title = PROBLEMS_BY_CODE[code]
    note(error=code)
    body = {
        "success": False,
        "type": f"urn:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "retryable": retryable,
        "request_id": request_id.get(),
        **members,
    }
    return ProblemResponse(body, headers)


def problem_for(error: OllamaError | RequestValidationError | HTTPException) -> Response:
    """Return the problem document for an exception."""
    match error:
        case OllamaError():
            return _ollama_problem(error)
        case RequestValidationError():
            fields = [_field(line, error.body) for line in error.errors()[:MAX_FIELDS]]
            detail = "; ".join(f"{line['field']}: {line['message']}" for line in fields)
            return problem("invalid_request", detail, errors=fields)
        case HTTPException():
            code = HTTP_CODES.get(error.status_code, "internal_error")
            members = {"errors": [{"field": "body", "message": error.detail}]} if code == "invalid_request" else {}
            retryable, headers = error.status_code in RETRYABLE_STATUSES, _with_head(error.headers)
            return problem(code, _http_detail(error, headers), retryable=retryable, headers=headers, **members)


def _ollama_problem(error: OllamaError) -> Response:
    status, _ = PROBLEMS_BY_CODE[error.code]
    headers = {"Retry-After": str(math.ceil(error.retry_after_seconds or 1))} if status == 503 else None  # noqa: PLR2004
    members: dict[str, Any] = {}
    if isinstance(error, ModelNotFoundError):
        members["available"] = error.available
    if isinstance(error, InvalidRequestError):
        members["errors"] = [{"field": error.field, "message": error.detail}]
    return problem(error.code, error.detail, retryable=error.retryable, headers=headers, **members)


def _http_detail(error: HTTPException, headers: Mapping[str, str] | None) -> str:
    """Return the exception's detail, or a sentence if it has only the name of the status."""
    if error.detail != HTTPStatus(error.status_code).phrase:
        return error.detail
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return NO_SUCH_PATH
        case HTTPStatus.METHOD_NOT_ALLOWED if headers and "Allow" in headers:
            return f"The path does not support this method, only {' and '.join(headers['Allow'].split(', '))}."
    return error.detail


def _with_head(headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Return the headers with a sorted `Allow` that includes HEAD if GET is allowed."""
    if not headers or "Allow" not in headers:
        return headers
    methods = set(headers["Allow"].split(", "))
    return {**headers, "Allow": ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))}


def _field(line: dict[str, Any], body: Any) -> dict[str, str]:
    where, *path = line["loc"]
    if where == "body":
        path = _without_union_branches(path, body, is_missing=line["type"] == "missing")
    message = line["msg"].removeprefix("Value error, ").replace(" after validation", "")
    if line["type"] == "json_invalid":
        path, message = [], f"not valid JSON at byte {line['loc'][1]}: {line['ctx']['error']}"
    elif not path and line["type"] in {"model_attributes_type", "missing"}:
        message = "expected a JSON object, with the header Content-Type: application/json"
    elif line["type"] in {"model_attributes_type", "dict_type"}:
        message = "Input should be an object"
    return {"field": ".".join(map(str, path))[:MAX_NAME_LENGTH] or "body", "message": message}


def _without_union_branches(path: list[Any], body: Any, *, is_missing: bool) -> list[Any]:
    """Remove the parts of a path that name a branch of a union rather than a place in the body."""
    found = []
    for at, part in enumerate(path, 1):
        if (isinstance(body, dict) and part in body) or (isinstance(body, list) and isinstance(part, int)):
            found.append(part)
            body = body[part]
        elif is_missing and at == len(path):
            found.append(part)
    return found

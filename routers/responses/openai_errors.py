"""Errors in the format of OpenAI's API."""

from typing import Any

from starlette.types import Scope

AUTHENTICATION_STATUS = 401
FIRST_SERVER_STATUS = 500

ENDPOINTS = (
    "Available under /v1: GET /v1/models, GET /v1/models/{id}, POST /v1/chat/completions and POST /v1/embeddings."
)
NO_RESPONSES_API = (
    "The Responses API is not supported. Use POST /v1/chat/completions: `client.chat.completions` in the openai "
    "packages, `provider.chat(model)` or `createOpenAICompatible` in the AI SDK."
)
PARAM_NAMES = {"format": "response_format.json_schema.schema", "think": "reasoning_effort"}
"""OpenAI's names of fields that are rejected after validation."""
DISABLED = "OpenAI's API is disabled (OPENAI_API_ENABLED)."


def error_object(status: int, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    """Return the body of an error, `{"error": {…}}`."""
    if status >= FIRST_SERVER_STATUS:
        kind = "server_error"
    elif status == AUTHENTICATION_STATUS:
        kind = "authentication_error"
    else:
        kind = "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def openai_error(problem: dict[str, Any], scope: Scope) -> tuple[dict[str, Any], dict[str, str]]:
    """Convert a problem document to a body and additional headers.

    OpenAI's packages decide by `x-should-retry` whether to retry; without it they go by the status.
    """
    code = problem["code"]
    message = _not_found(scope) if code == "not_found" else problem["detail"]
    body = error_object(problem["status"], code, message, _param(problem))
    return body, {"x-should-retry": str(problem["retryable"]).lower()}


def _param(problem: dict[str, Any]) -> str | None:
    if problem["code"] == "model_not_found":
        return "model"
    field = next((str(error["field"]) for error in problem.get("errors") or ()), None)
    return None if field in (None, "body") else PARAM_NAMES.get(field, field)


def _not_found(scope: Scope) -> str:
    if not scope["app"].state.settings.openai_api_enabled:
        return DISABLED
    return (
        f"{NO_RESPONSES_API} {ENDPOINTS}"
        if "/v1/responses" in scope["path"]
        else f"The path does not exist. {ENDPOINTS}"
    )

"""Failures in the form of OpenAI's API."""

from typing import Any

from starlette.types import Scope

AUTHENTICATION_STATUS = 401
FIRST_SERVER_STATUS = 500

OFFERED = (
    "Offered under /v1 are GET /v1/models, GET /v1/models/{id}, POST /v1/chat/completions and POST /v1/embeddings."
)
NO_RESPONSES_API = (
    "The Responses API is not offered. Use POST /v1/chat/completions: `client.chat.completions` in the openai "
    "packages, `provider.chat(model)` or `createOpenAICompatible` in the AI SDK."
)
NAMES = {"format": "response_format.json_schema.schema", "think": "reasoning_effort"}
"""What fields that are refused after the body was read are called in OpenAI's API."""
SWITCHED_OFF = "OpenAI's API is switched off here (OPENAI_API_ENABLED)."


def error_object(status: int, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    """Return the object that OpenAI's clients read an error from."""
    if status >= FIRST_SERVER_STATUS:
        kind = "server_error"
    elif status == AUTHENTICATION_STATUS:
        kind = "authentication_error"
    else:
        kind = "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def openai_error(problem: dict[str, Any], scope: Scope) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the body and the additional headers of an error, given as a problem document.

    `x-should-retry` is what OpenAI's packages go by before they look at the status.
    """
    code = problem["code"]
    message = _not_found(scope) if code == "not_found" else problem["detail"]
    body = error_object(problem["status"], code, message, _param(problem))
    return body, {"x-should-retry": str(problem["retryable"]).lower()}


def _param(problem: dict[str, Any]) -> str | None:
    if problem["code"] == "model_not_found":
        return "model"
    field = next((str(error["field"]) for error in problem.get("errors") or ()), None)
    return None if field in (None, "body") else NAMES.get(field, field)


def _not_found(scope: Scope) -> str:
    if not scope["app"].state.settings.openai_api_enabled:
        return SWITCHED_OFF
    return f"{NO_RESPONSES_API} {OFFERED}" if "/v1/responses" in scope["path"] else f"No such path. {OFFERED}"

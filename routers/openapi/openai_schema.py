"""Responses of OpenAI's API in openapi.json."""

from typing import Any

from routers.openapi.schema import (
    BACK_OFF_STATUS,
    COMPLETION_HEADERS,
    RETRY_AFTER,
    Responses,
    problem_example,
    success_response,
)
from routers.responses.openai_errors import error_object
from routers.responses.problems import PROBLEMS_BY_CODE
from routers.schemas.openai_responses import OpenAIError

SHOULD_RETRY = {
    "x-should-retry": {
        "description": "Whether the request did not run, so that sending it again is safe.",
        "schema": {"type": "string", "enum": ["true", "false"]},
    }
}


def openai_errors(*codes: str) -> Responses:
    """Return the description of these errors, by status."""
    responses: Responses = {}
    for code in codes:
        status, title = PROBLEMS_BY_CODE[code]
        response = responses.setdefault(
            status,
            {
                "model": OpenAIError,
                "description": "",
                "headers": SHOULD_RETRY | (RETRY_AFTER if status == BACK_OFF_STATUS else {}),
                "content": {"application/json": {"examples": {}}},
            },
        )
        response["description"] = "; ".join(filter(None, [response["description"], f"`{code}`: {title}"]))
        value = error_object(status, code, problem_example(code)["detail"])
        response["content"]["application/json"]["examples"][code] = {"summary": title, "value": value}
    return responses


def completion_responses(named: dict[str, Any], chunks: dict[str, Any]) -> Responses:
    """Return the description of a chat completion, whole or as a stream of chunks."""
    description = (
        "Whole, as JSON. With `stream: true` as Server-Sent Events, whatever `Accept` says: each `data` is a chunk, "
        'the last one `[DONE]`; a stream that fails ends with `{"error": …}` instead.'
    )
    responses = success_response(description, named, COMPLETION_HEADERS)
    responses[200]["content"]["text/event-stream"] = {"schema": {}, "examples": chunks}
    return responses

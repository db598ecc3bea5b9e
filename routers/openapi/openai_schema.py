"""OpenAPI descriptions of the responses of OpenAI's API."""

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
    """Describe errors with these codes, by status."""
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


def completion_responses(examples: dict[str, Any], chunks: dict[str, Any]) -> Responses:
    """Describe a chat completion: complete JSON, or a stream of chunks."""
    description = (
        "A complete response as JSON. With `stream: true`, Server-Sent Events, independent of `Accept`: each `data` is "
        'a chunk, and the last one is `[DONE]`; a stream that fails ends with `{"error": …}` instead.'
    )
    responses = success_response(description, examples, COMPLETION_HEADERS)
    responses[200]["content"]["text/event-stream"] = {"schema": {}, "examples": chunks}
    return responses

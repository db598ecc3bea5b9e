"""Fields that accept values of several types: one error, about the type that was meant."""

from typing import Any

import aiohttp
import pytest

from tests.api import CHAT, EMBEDDINGS, GENERATE, call, post, problem_in

TEXTS = "Input should be a string or a list of strings"
EMPTY = "String should have at least 1 character"
FORMAT = "Input should be 'json' or an object, a JSON schema"
THINK = "Input should be true, false, 'low', 'medium' or 'high'"
IMAGE_URL = "Input should be an object with `url`, or a string"


@pytest.mark.parametrize(
    ("endpoint", "body", "field", "message"),
    [
        ("embeddings", EMBEDDINGS | {"text": []}, "text", "List should have at least 1 item, not 0"),
        ("embeddings", EMBEDDINGS | {"text": ""}, "text", EMPTY),
        ("embeddings", EMBEDDINGS | {"text": ["", ""]}, "text.0", EMPTY),
        ("embeddings", EMBEDDINGS | {"text": ["a", 5]}, "text.1", "Input should be a valid string"),
        ("embeddings", EMBEDDINGS | {"text": {"<list>": []}}, "text", TEXTS),
        ("embeddings", EMBEDDINGS | {"text": None}, "text", TEXTS),
        ("generate", GENERATE | {"format": "xml"}, "format", FORMAT),
        ("generate", GENERATE | {"format": ["json"]}, "format", FORMAT),
        ("generate", GENERATE | {"think": "banana"}, "think", THINK),
        ("chat", CHAT | {"think": 1}, "think", THINK),
        ("chat", CHAT | {"stop": 5}, "stop", TEXTS),
        ("chat", CHAT | {"stop": ["a", 5]}, "stop.1", "Input should be a valid string"),
        ("chat", CHAT | {"options": []}, "options", "Input should be an object"),
    ],
    ids=lambda value: str(value)[-40:],
)
async def test_one_error_is_reported(
    client: aiohttp.ClientSession, url: str, endpoint: str, body: Any, field: str, message: str
) -> None:
    document = problem_in(await post(client, url, endpoint, body), "invalid_request")
    assert document["errors"] == [{"field": field, "message": message}]
    assert document["detail"] == f"{field}: {message}"


def message_with(**members: Any) -> dict[str, Any]:
    return {"messages": [{"role": "assistant"} | members]}


def image(url: object) -> list[dict[str, Any]]:
    return [{"type": "image_url", "image_url": url}]


@pytest.mark.parametrize(
    ("endpoint", "body", "field", "message"),
    [
        ("embeddings", {"input": 5}, "input", TEXTS),
        (
            "chat/completions",
            message_with(content=5),
            "messages.0.content",
            "Input should be a string or a list of parts",
        ),
        ("chat/completions", message_with(content=[{}]), "messages.0.content.0.type", "Field required"),
        ("chat/completions", message_with(content=image(5)), "messages.0.content.0.image_url", IMAGE_URL),
        ("chat/completions", message_with(content=image({})), "messages.0.content.0.image_url.url", "Field required"),
        (
            "chat/completions",
            message_with(tool_calls=[{"function": {"name": "a", "arguments": 5}}]),
            "messages.0.tool_calls.0.function.arguments",
            "Input should be the text of a JSON object",
        ),
        (
            "chat/completions",
            message_with(content="Hi") | {"tool_choice": 5},
            "tool_choice",
            "Input should be a string or an object",
        ),
    ],
    ids=lambda value: str(value)[-40:],
)
async def test_one_error_is_reported_by_openai_s_api(
    client: aiohttp.ClientSession, url: str, endpoint: str, body: Any, field: str, message: str
) -> None:
    answer = await call(client, "POST", f"{url}/v1/{endpoint}", json=body)
    assert answer.status == 422
    assert answer.json()["error"]["message"] == f"{field}: {message}"
    assert answer.json()["error"]["param"] == field

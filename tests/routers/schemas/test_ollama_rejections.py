"""Fields of requests that are rejected, and how the error names them."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from routers.schemas.ollama import ChatRequest, EmbeddingsRequest, GenerateRequest
from tests.api import CHAT, EMBEDDINGS, GENERATE

Validate = Callable[[dict[str, Any]], Any]
MODELS: dict[str, tuple[Validate, dict[str, Any]]] = {
    "generate": (GenerateRequest.model_validate, GENERATE),
    "chat": (ChatRequest.model_validate, CHAT),
    "embeddings": (EmbeddingsRequest.model_validate, EMBEDDINGS),
}


def complaints(endpoint: str, body: dict[str, Any]) -> set[str]:
    """Return the fields with errors."""
    validate, _ = MODELS[endpoint]
    with pytest.raises(ValidationError) as caught:
        validate(body)
    return {str(line["loc"][0]) for line in caught.value.errors()}


COMPLETION_FAULTS: list[dict[str, Any]] = [
    {"model": "no such name!"},
    {"model": 5},
    {"temperature": -0.1},
    {"temperature": 2.1},
    {"temperature": "0.5"},
    {"temperature": True},
    {"max_tokens": 0},
    {"max_tokens": 1.5},
    {"max_tokens": "5"},
    {"max_tokens": True},
    {"top_p": 1.1},
    {"top_p": -0.1},
    {"frequency_penalty": 2.5},
    {"presence_penalty": -2.5},
    {"seed": 1.5},
    {"seed": "1"},
    {"stop": 5},
    {"stop": [5]},
    {"format": "xml"},
    {"format": ["json"]},
    {"format": {"type": "banana"}},
    {"format": True},
    {"think": "max"},
    {"think": 1},
    {"keep_alive": "5 parsecs"},
    {"keep_alive": True},
    {"keep_alive": {}},
    {"options": {"temperature": "hot"}},
    {"options": {"temperature": True}},
    {"options": {"num_ctx": 1.5}},
    {"options": {"num_ctx": 0}},
    {"options": {"stop": "END"}},
    {"options": {"use_mmap": 1}},
    {"options": {"temprature": 1}},
    {"options": []},
    {"fallback": "yes"},
    {"stream": "true"},
    {"stream": 1},
    {"temprature": 0.5},
    {"raw": True},
]


@pytest.mark.parametrize("endpoint", ["generate", "chat"])
@pytest.mark.parametrize("fault", COMPLETION_FAULTS, ids=str)
def test_an_invalid_field_is_named_in_the_error(endpoint: str, fault: dict[str, Any]) -> None:
    _, body = MODELS[endpoint]
    assert complaints(endpoint, body | fault) == set(fault)


def test_images_as_an_object_of_bytes_are_rejected_with_a_hint() -> None:
    with pytest.raises(ValidationError, match=r"Buffer\.from\(bytes\)"):
        GenerateRequest.model_validate(GENERATE | {"images": {"type": "Buffer", "data": [137, 80]}})


def test_only_the_first_invalid_item_of_a_list_is_reported() -> None:
    """An error costs more than an item, and a body may have many."""
    message = {"role": "user", "content": "Hi", "images": ["!"] * 1000}
    with pytest.raises(ValidationError) as caught:
        ChatRequest.model_validate(CHAT | {"messages": [message] * 3})
    assert [line["loc"] for line in caught.value.errors()] == [("messages", at, "images", 0) for at in range(3)]


def test_a_message_with_many_unknown_fields_is_reported_once() -> None:
    message = {"role": "user", "content": "Hi"} | {str(number): 1 for number in range(100)}
    with pytest.raises(ValidationError, match="more than 5 of them unknown") as caught:
        ChatRequest.model_validate(CHAT | {"messages": [message]})
    assert caught.value.error_count() == 1


IMAGES = ["https://example.org/a.png", "not base64!", "", "data:image/png;base64,", "data:", "data:image/png;base64,a"]


@pytest.mark.parametrize("image", [*IMAGES, 5])
def test_an_image_that_is_not_base64_is_rejected(image: object) -> None:
    assert complaints("generate", GENERATE | {"images": [image]}) == {"images"}
    message = {"role": "user", "content": "What is it?", "images": [image]}
    assert complaints("chat", CHAT | {"messages": [message]}) == {"messages"}


@pytest.mark.parametrize("fault", [{"prompt": ""}, {"prompt": None}, {"prompt": 5}, {"system": 5}], ids=str)
def test_an_invalid_field_of_generate_is_rejected(fault: dict[str, Any]) -> None:
    assert complaints("generate", GENERATE | fault) == set(fault)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        None,
        "Hi",
        ["Hi"],
        [{}],
        [{"content": "Hi"}],
        [{"role": "robot", "content": "Hi"}],
        [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        [{"role": "user", "content": 5}],
        [{"role": "user", "content": "Hi", "name": "me"}],
        [{"role": "assistant", "content": "", "tool_calls": [{}]}],
        [{"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "a", "arguments": "{}"}}]}],
    ],
    ids=str,
)
def test_invalid_messages_are_rejected(messages: Any) -> None:
    assert complaints("chat", CHAT | {"messages": messages}) == {"messages"}


@pytest.mark.parametrize("tools", [[{}], [{"type": "robot", "function": {"name": "a"}}], [{"function": {}}], "score"])
def test_invalid_tools_are_rejected(tools: Any) -> None:
    assert complaints("chat", CHAT | {"tools": tools}) == {"tools"}


@pytest.mark.parametrize(
    ("endpoint", "field"),
    [("generate", "messages"), ("generate", "tools"), ("chat", "prompt"), ("chat", "system"), ("chat", "images")]
    + [("embeddings", name) for name in ("input", "prompt", "stream", "options", "fallback", "temperature")],
)
def test_a_field_of_another_endpoint_is_rejected(endpoint: str, field: str) -> None:
    _, body = MODELS[endpoint]
    assert complaints(endpoint, body | {field: None}) == {field}


BAD_TEXTS: list[Any] = ["", [], [""], ["a", ""], None, 5, [5], ["a"] * 513, {}]


@pytest.mark.parametrize(
    "fault",
    [{"text": text} for text in BAD_TEXTS]
    + [{"dimensions": 0}, {"dimensions": 1.5}, {"dimensions": "5"}, {"truncate": 1}]
    + [{"model": "no such name!"}, {"keep_alive": "5 parsecs"}],
    ids=lambda fault: str(fault)[:40],
)
def test_an_invalid_field_of_embeddings_is_rejected(fault: dict[str, Any]) -> None:
    assert complaints("embeddings", EMBEDDINGS | fault) == set(fault)

"""Fields of requests: how they are sent to Ollama, and which values mean unset."""

from typing import Any

import pytest

from routers.schemas.ollama import ChatRequest, EmbeddingsRequest, GenerateRequest
from services.completion import CompletionRequest
from tests.api import CHAT, GENERATE, PIXEL

SCHEMA = {"type": "object", "properties": {"keep": {"type": "boolean", "default": None}}}


def generate(**fields: Any) -> CompletionRequest:
    return GenerateRequest.model_validate(GENERATE | fields).to_completion_request()


def chat(**fields: Any) -> CompletionRequest:
    return ChatRequest.model_validate(CHAT | fields).to_completion_request()


def test_a_minimal_request_sets_no_options() -> None:
    request = GenerateRequest(prompt="Hi").to_completion_request()
    assert request == CompletionRequest(path="/api/generate", model=None, content={"prompt": "Hi"})
    assert request.allow_fallback is True
    assert GenerateRequest(prompt="Hi").stream is False


def test_fields_are_converted_to_options() -> None:
    named = {"temperature": 0, "top_p": 1, "frequency_penalty": -2, "presence_penalty": 2, "seed": 0}
    assert generate(**named, max_tokens=1, stop="END").options == named | {"num_predict": 1, "stop": ["END"]}
    assert generate(stop=["a", "b"]).options == {"stop": ["a", "b"]}


def test_a_field_takes_precedence_over_the_option() -> None:
    options = {"temperature": 1.5, "num_predict": 9, "top_k": 3}
    assert generate(temperature=0.1, max_tokens=5, options=options).options == {
        "temperature": 0.1,
        "num_predict": 5,
        "top_k": 3,
    }


def test_null_means_unset() -> None:
    nulls = dict.fromkeys(
        [
            "model",
            "system",
            "temperature",
            "max_tokens",
            "top_p",
            "frequency_penalty",
            "presence_penalty",
            "seed",
            "stop",
            "format",
            "think",
            "images",
            "keep_alive",
        ]
    )
    assert generate(**nulls) == generate(model=None)


OPTIONAL = [
    "model",
    "temperature",
    "max_tokens",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "stop",
    "format",
    "think",
    "keep_alive",
    "options",
    "fallback",
    "stream",
]
EMPTY: list[tuple[str, Any]] = [(name, "") for name in ("model", "stop", "format", "think", "keep_alive")] + [
    ("stop", []),
    ("stop", [""]),
    ("stop", ["", ""]),
    ("options", {}),
    ("options", {"stop": []}),
    ("options", {"stop": [""]}),
    ("options", {"stop": None, "top_k": None}),
]
UNSET = [(name, None) for name in OPTIONAL] + EMPTY


@pytest.mark.parametrize(
    ("field", "empty"), [*UNSET, ("system", None), ("system", ""), ("images", None), ("images", [])]
)
def test_an_empty_field_of_generate_means_unset(field: str, empty: Any) -> None:
    assert GenerateRequest.model_validate(GENERATE | {"model": None, field: empty}).to_completion_request() == generate(
        model=None
    )


@pytest.mark.parametrize(("field", "empty"), [*UNSET, ("tools", None), ("tools", [])])
def test_an_empty_field_of_chat_means_unset(field: str, empty: Any) -> None:
    assert ChatRequest.model_validate(CHAT | {"model": None, field: empty}).to_completion_request() == chat(model=None)


@pytest.mark.parametrize("field", ["images", "tool_calls", "thinking", "tool_name", "tool_call_id"])
@pytest.mark.parametrize("empty", [None, "", []])
def test_an_empty_field_of_a_message_means_unset(field: str, empty: Any) -> None:
    message = {"role": "user", "content": "Hi"}
    assert chat(messages=[message | {field: empty}]) == chat(messages=[message])


def test_empty_fields_of_a_tool_call_are_dropped() -> None:
    call = {"id": None, "type": None, "function": {"name": "score", "arguments": None}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    sent = chat(messages=[message]).content["messages"]
    assert sent == [{"role": "assistant", "tool_calls": [{"function": {"name": "score", "arguments": {}}}]}]


def test_empty_fields_of_a_tool_are_dropped() -> None:
    tool = {"type": None, "function": {"name": "score", "description": None, "parameters": None}}
    assert chat(tools=[tool]).content["tools"] == [{"type": "function", "function": {"name": "score"}}]


@pytest.mark.parametrize("field", ["model", "keep_alive", "dimensions", "truncate"])
def test_null_in_embeddings_means_unset(field: str) -> None:
    assert EmbeddingsRequest.model_validate({"text": "a", field: None}) == EmbeddingsRequest(text="a")


@pytest.mark.parametrize("field", ["model", "keep_alive"])
def test_an_empty_string_in_embeddings_means_unset(field: str) -> None:
    assert EmbeddingsRequest.model_validate({"text": "a", field: ""}) == EmbeddingsRequest(text="a")


def test_empty_stop_strings_are_dropped() -> None:
    assert generate(stop=["", "END"], options={"stop": ["a", ""]}).options == {"stop": ["END"]}
    assert generate(options={"stop": ["a", ""]}).options == {"stop": ["a"]}


def test_zero_does_not_mean_unset() -> None:
    zeros = {"temperature": 0, "top_p": 0, "frequency_penalty": 0, "presence_penalty": 0, "seed": 0}
    assert generate(**zeros).options == zeros
    assert generate(think=False, keep_alive=0).content["think"] is False
    assert generate(keep_alive=0).keep_alive == 0


@pytest.mark.parametrize("format_", ["json", SCHEMA, {}])
def test_format_is_sent_unchanged(format_: Any) -> None:
    assert generate(format=format_).response_format == format_


@pytest.mark.parametrize("think", [True, False, "low", "medium", "high"])
def test_think_is_sent_when_given(think: bool | str) -> None:
    assert generate(think=think).content["think"] is think
    assert chat(think=think).content["think"] is think


@pytest.mark.parametrize("image", [PIXEL, f"data:image/png;base64,{PIXEL}"])
def test_an_image_is_sent_as_plain_base64(image: str) -> None:
    assert generate(images=[image]).content["images"] == [PIXEL]
    messages = [{"role": "user", "content": "What is it?", "images": [image]}]
    assert chat(messages=messages).content["messages"][0]["images"] == [PIXEL]


def test_a_conversation_is_sent_unchanged() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "How many points?"},
        {
            "role": "assistant",
            "content": "",
            "thinking": "Ask.",
            "tool_calls": [{"id": "call_1", "function": {"index": 0, "name": "score", "arguments": {"week": None}}}],
        },
        {"role": "tool", "content": "18.5", "tool_name": "score", "tool_call_id": "call_1"},
    ]
    assert chat(messages=messages).content["messages"] == messages


def test_tools_are_sent_unchanged() -> None:
    parameters = {"type": "object", "properties": {"week": {"enum": [1, None]}}, "required": []}
    function = {"name": "score", "description": "Points.", "parameters": parameters, "strict": True}
    tools = [{"type": "function", "function": function}]
    assert chat(tools=tools).content["tools"] == tools


@pytest.mark.parametrize("text", ["a", ["a"], ["a"] * 512])
def test_one_or_many_texts_are_accepted(text: str | list[str]) -> None:
    request = EmbeddingsRequest(text=text)
    assert (request.text, request.truncate) == (text, True)

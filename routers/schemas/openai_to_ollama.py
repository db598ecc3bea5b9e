"""Conversion of OpenAI requests to Ollama requests."""

from collections.abc import Sequence
from typing import Any, Literal

import orjson
from pydantic import TypeAdapter, ValidationError

from routers.schemas.fields import Image
from routers.schemas.openai import (
    AssistantToolCall,
    ChatCompletionMessage,
    ChatCompletionRequest,
    ContentPart,
    ResponseFormat,
)
from services.completion import CompletionRequest
from services.ollama.errors import InvalidRequestError
from services.requests.value_count import MAX_PARTS

MAX_INPUTS = 2048

# Unsupported parameters with the values that have no effect and are therefore accepted.
NO_OP_VALUES: dict[str, tuple[object, ...]] = {
    "n": (None, 0, 1),
    "logit_bias": (None, {}),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "modalities": (None, [], ["text"]),
    "audio": (None, {}),
    "functions": (None, []),
    "function_call": (None, "", "none", "auto"),
    "web_search_options": (None,),
}
THINK: dict[str, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
}
TEXT_ONLY = (
    "Token ids are not supported, as each model has its own; send text. "
    "LangChain's OpenAIEmbeddings sends text with check_embedding_ctx_length=False."
)

_image = TypeAdapter[str](Image)


class UnsupportedParameterError(InvalidRequestError):
    """The request has a parameter that would change the response but is not supported."""

    code = "unsupported_parameter"


def to_completion_request(body: ChatCompletionRequest) -> CompletionRequest:
    """Convert a chat completion request to a request for Ollama's `/api/chat`.

    Raises:
        UnsupportedParameterError: if a parameter is not supported.
        InvalidRequestError: if a message or the response format is not valid.
    """
    for name, harmless in NO_OP_VALUES.items():
        if getattr(body, name) not in harmless:
            raise UnsupportedParameterError(f"{name} is not supported by Ollama.", field=name)
    content: dict[str, Any] = {"messages": _messages(body.messages)}
    if tools := _tools(body):
        content["tools"] = tools
    if body.reasoning_effort is not None:
        content["think"] = THINK[body.reasoning_effort]
    named = {
        "temperature": body.temperature,
        "num_predict": body.max_completion_tokens or body.max_tokens,
        "top_p": body.top_p,
        "frequency_penalty": body.frequency_penalty,
        "presence_penalty": body.presence_penalty,
        "seed": body.seed,
        "stop": body.stop,
    }
    return CompletionRequest(
        path="/api/chat",
        model=body.model,
        content=content,
        options=(body.options.model_dump(exclude_none=True) if body.options else {})
        | {name: value for name, value in named.items() if value is not None},
        response_format=_format(body.response_format),
        truncate=body.truncate,
        shift=body.shift,
        keep_alive=body.keep_alive,
        allow_fallback=body.fallback,
    )


def to_texts(given: str | list[Any]) -> list[str]:
    """Return the texts to embed.

    Raises:
        UnsupportedParameterError: if they are lists of token ids.
        InvalidRequestError: if there are none or too many, or if one is empty or not a string.
    """
    texts = [given] if isinstance(given, str) else given
    if texts and (type(texts[0]) is int or isinstance(texts[0], list)):
        raise UnsupportedParameterError(TEXT_ONLY, field="input")
    if not 1 <= len(texts) <= MAX_INPUTS:
        detail = f"input: expected a text, or a list of 1 to {MAX_INPUTS}."
        raise InvalidRequestError(detail, field="input")
    for at, text in enumerate(texts):
        if not isinstance(text, str) or not text:
            field = "input" if isinstance(given, str) else f"input.{at}"
            raise InvalidRequestError(f"{field}: expected a non-empty string.", field=field)
    return texts


def _tools(body: ChatCompletionRequest) -> list[dict[str, Any]]:
    if body.tool_choice not in (None, "", "auto", "none"):
        detail = (
            "tool_choice: Ollama cannot force a tool call; only `auto` and `none` are supported. "
            "For structured output, use response_format with a JSON schema."
        )
        raise UnsupportedParameterError(detail, field="tool_choice")
    if body.tool_choice == "none":
        return []
    found = []
    for at, tool in enumerate(body.tools or ()):
        if tool.type not in (None, "", "function") or tool.function is None:
            field = f"tools.{at}.type"
            raise UnsupportedParameterError(f"{field}: only `function` is supported.", field=field)
        function = tool.function.model_dump(exclude_none=True, exclude={"strict"})
        found.append({"type": "function", "function": function})
    return found


def _format(wanted: ResponseFormat | None) -> Literal["json"] | dict[str, Any] | None:
    match wanted:
        case None | ResponseFormat(type=None | "" | "text"):
            return None
        case ResponseFormat(type="json_object"):
            return "json"
        case ResponseFormat(type="json_schema"):
            if wanted.json_schema is None:
                field = "response_format.json_schema"
                raise InvalidRequestError(f"{field}: expected an object with `schema`.", field=field)
            return wanted.json_schema.json_schema
    detail = "response_format.type: only `text`, `json_object` and `json_schema` are supported."
    raise UnsupportedParameterError(detail, field="response_format.type")


def _messages(given: Sequence[ChatCompletionMessage]) -> list[dict[str, Any]]:
    """Convert messages to Ollama's: tool results name the tool, arguments are objects, and no content is null."""
    _check_arguments(given)
    names: dict[str, str] = {}
    messages = []
    for at, one in enumerate(given):
        content = one.content
        role = "system" if one.role == "developer" else one.role
        message: dict[str, Any] = {"role": role, "content": content if isinstance(content, str) else ""}
        if isinstance(content, list):
            message |= _content_of_parts(content, f"messages.{at}.content")
        match role:
            case "assistant":
                if thinking := one.reasoning_content or one.reasoning:
                    message["thinking"] = thinking
                if one.tool_calls:
                    where = f"messages.{at}.tool_calls"
                    message["tool_calls"] = [_tool_call(call, f"{where}.{i}") for i, call in enumerate(one.tool_calls)]
                    names |= {call.id: call.function.name for call in one.tool_calls if call.id}
            case "tool":
                id_ = one.tool_call_id or ""
                known = {"tool_name": names.get(id_) or one.name, "tool_call_id": id_}
                message |= {name: value for name, value in known.items() if value}
        messages.append(message)
    return messages


def _check_arguments(messages: Sequence[ChatCompletionMessage]) -> None:
    """Reject arguments with too many values: parsing them blocks the loop, and `read_json` counts them as strings."""
    texts = [call.function.arguments for message in messages for call in message.tool_calls or ()]
    if sum(text.count(mark) for text in texts if isinstance(text, str) for mark in '[{",') > MAX_PARTS:
        detail = f"messages: the arguments of tool calls have more than {MAX_PARTS} values."
        raise InvalidRequestError(detail, field="messages")


def _content_of_parts(parts: Sequence[ContentPart], where: str) -> dict[str, Any]:
    texts, images = [], []
    for at, part in enumerate(parts):
        if part.type == "image_url":
            images.append(_image_data(part, f"{where}.{at}.image_url"))
        elif part.type in {"text", "refusal"}:
            texts.append(part.text or part.refusal or "")
        else:
            detail = f"{where}.{at}.type: {part.type[:100]!r} is not supported, only `text` and `image_url` are."
            raise UnsupportedParameterError(detail, field=f"{where}.{at}.type")
    content: dict[str, Any] = {"content": "\n".join(texts)}
    return content | {"images": images} if images else content


def _image_data(part: ContentPart, where: str) -> str:
    url = part.image_url if isinstance(part.image_url, str) else part.image_url.url if part.image_url else ""
    if url[:8].lower().startswith(("http:", "https:", "file:")):
        detail = f"{where}: images are not fetched; send a data URL with the base64-encoded image."
        raise UnsupportedParameterError(detail, field=where)
    try:
        return _image.validate_python(url)
    except ValidationError as error:
        message = error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
        raise InvalidRequestError(f"{where}: {message}", field=where) from None


def _tool_call(call: AssistantToolCall, where: str) -> dict[str, Any]:
    if call.type not in (None, "", "function"):
        raise UnsupportedParameterError(f"{where}.type: only functions are supported.", field=f"{where}.type")
    arguments: Any = call.function.arguments or {}
    if isinstance(arguments, str):
        try:
            arguments = orjson.loads(arguments) or {}
        except orjson.JSONDecodeError:
            arguments = None
    if not isinstance(arguments, dict):
        field = f"{where}.function.arguments"
        raise InvalidRequestError(f"{field}: expected the text of a JSON object.", field=field)
    translated: dict[str, Any] = {"function": {"name": call.function.name, "arguments": arguments}}
    return {"id": call.id, **translated} if call.id else translated

"""Request bodies of OpenAI's API.

Unknown fields are ignored, as every client sends some that Ollama does not have.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    WithJsonSchema,
)

from routers.schemas.fields import (
    LIST,
    OBJECT,
    TEXT,
    BoundedList,
    Model,
    NonEmpty,
    Number,
    Options,
    Stop,
    UnsetIfEmpty,
    by_type,
    check_format,
    default_if_null,
    one_of,
)
from routers.schemas.ollama import ToolFunction
from services.ollama.types.durations import KeepAlive
from services.ollama.types.embedding_prefixes import INPUT_TYPES, InputType


def unset_if_zero(value: object) -> object:
    """Return None for zero values, which some serializers write for unset fields."""
    return None if value in (0, "", [], {}) and value is not False else value


def document_if_passage(value: object) -> object:
    """Translate `passage`, as NVIDIA's NIM calls documents."""
    return "document" if value == "passage" else value


UnsetIfZero = BeforeValidator(unset_if_zero)
OptionalKeepAlive = Annotated[KeepAlive | None, UnsetIfEmpty]
# Declared so that they can be rejected by name if they would change the response.
Unsupported = Annotated[Any, Field(description="Not supported: rejected unless it has no effect.")]


class OpenAIBody(BaseModel):
    """A request body, or an object in one."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ImageUrl(OpenAIBody):
    """An image in a message."""

    url: str = Field(description="A data URL; other URLs are not fetched.")


class ContentPart(OpenAIBody):
    """A part of a message: text or an image."""

    type: str = Field(description="`text` or `image_url`.", examples=["text"])
    text: str | None = None
    refusal: str | None = None
    image_url: (
        Annotated[Annotated[ImageUrl, OBJECT] | Annotated[str, TEXT], by_type("an object with `url`, or a string")]
        | None
    ) = None


class CalledFunction(OpenAIBody):
    """The function of a tool call."""

    name: NonEmpty
    arguments: Annotated[str | dict[str, Any] | None, one_of("the text of a JSON object")] = Field(
        default=None, description="A JSON object as text."
    )


class AssistantToolCall(OpenAIBody):
    """A tool call in an assistant message."""

    id: str | None = None
    type: str | None = "function"
    function: CalledFunction


class ChatCompletionMessage(OpenAIBody):
    """A message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"] = Field(
        description="Author of the message; `developer` is the same as `system`, `tool` is the result of a tool call."
    )
    content: (
        Annotated[
            Annotated[str, TEXT] | Annotated[BoundedList[ContentPart], LIST], by_type("a string or a list of parts")
        ]
        | None
    ) = Field(default=None, description="Text, or a list of text and image parts.")
    reasoning_content: str | None = Field(default=None, description="Reasoning of an assistant message.")
    reasoning: str | None = Field(default=None, description="Alias of `reasoning_content`.")
    tool_calls: BoundedList[AssistantToolCall] | None = Field(
        default=None, description="Tool calls of an assistant message."
    )
    tool_call_id: str | None = Field(default=None, description="For `tool` messages: the id of the tool call.")
    name: str | None = Field(
        default=None, description="The tool's name, if the conversation does not include the tool call."
    )


class ChatCompletionTool(OpenAIBody):
    """A tool that the model may call."""

    type: str | None = "function"
    function: ToolFunction | None = None


class JsonSchemaSpec(OpenAIBody):
    """The JSON schema of the response."""

    json_schema: Annotated[dict[str, Any], AfterValidator(check_format)] = Field(alias="schema")


class ResponseFormat(OpenAIBody):
    """The format of the response."""

    type: str | None = Field(default=None, description="`text`, `json_object` or `json_schema`.")
    json_schema: JsonSchemaSpec | None = Field(default=None, description="With `json_schema`: `name` and `schema`.")


class StreamOptions(OpenAIBody):
    """Options of a stream."""

    include_usage: bool | None = Field(default=None, description="Send a final chunk with `usage`.")


class ChatCompletionRequest(OpenAIBody):
    """A conversation to continue, in OpenAI's format."""

    messages: Annotated[
        BoundedList[ChatCompletionMessage], Field(min_length=1, description="The conversation, oldest message first.")
    ]
    model: Annotated[Model | None, UnsetIfZero] = Field(
        default=None, description="Model name; `DEFAULT_MODEL` if unset."
    )
    stream: Annotated[StrictBool, default_if_null(False)] = Field(
        default=False, description="Stream the response as Server-Sent Events."
    )
    stream_options: StreamOptions | None = Field(default=None, description="Options of a stream.")
    max_completion_tokens: Annotated[StrictInt | None, Field(ge=1), UnsetIfZero] = Field(
        default=None, description="Maximum number of tokens, including reasoning; `MAX_TOKENS` if unset."
    )
    max_tokens: Annotated[StrictInt | None, Field(ge=1), UnsetIfZero] = Field(
        default=None, description="Older name of `max_completion_tokens`, which takes precedence."
    )
    temperature: Number | None = Field(
        default=None, ge=0, le=2, description="Randomness, 0 to 2; `TEMPERATURE` if unset."
    )
    top_p: Number | None = Field(default=None, ge=0, le=1, description="Nucleus sampling, 0 to 1; `TOP_P` if unset.")
    frequency_penalty: Number | None = Field(
        default=None, ge=-2, le=2, description="-2 to 2; `FREQUENCY_PENALTY` if unset."
    )
    presence_penalty: Number | None = Field(
        default=None, ge=-2, le=2, description="-2 to 2; `PRESENCE_PENALTY` if unset."
    )
    seed: StrictInt | None = Field(
        default=None, description="Random seed: the same seed gives the same text on the same server."
    )
    stop: Stop = Field(default=None, description="String, or list of strings, at which the response ends.")
    response_format: ResponseFormat | None = Field(
        default=None, description="Text, JSON, or JSON that satisfies a schema."
    )
    reasoning_effort: Annotated[Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None, UnsetIfZero] = (
        Field(default=None, description="How much a reasoning model reasons before responding; `none` disables it.")
    )
    tools: BoundedList[ChatCompletionTool] | None = Field(
        default=None, description="Functions that the model may call."
    )
    tool_choice: Annotated[str | dict[str, Any] | None, one_of("a string or an object")] = Field(
        default=None, description="`auto` or `none`; a tool call cannot be forced."
    )
    fallback: Annotated[StrictBool, default_if_null(True)] = Field(
        default=True,
        description="Not in OpenAI's API. Use `DEFAULT_MODEL` if the model is not installed or fails to load; "
        "true by default.",
    )
    truncate: StrictBool | None = Field(
        default=None,
        description="Not part of OpenAI's API. False rejects a prompt that is longer than the context instead of "
        "truncating it. Default: `TRUNCATE_PROMPTS`.",
    )
    shift: StrictBool | None = Field(
        default=None,
        description="Not part of OpenAI's API. False ends the response when the context is full instead of dropping "
        "the oldest half of it. Default: `SHIFT_CONTEXT`.",
    )
    keep_alive: OptionalKeepAlive = Field(
        default=None,
        description="Not in OpenAI's API. How long the model stays loaded: seconds, or a duration such as `5m`.",
    )
    options: Options | None = Field(
        default=None, description="Not in OpenAI's API. Other options of Ollama; the fields above take precedence."
    )
    n: Unsupported = None
    logit_bias: Unsupported = None
    logprobs: Unsupported = None
    top_logprobs: Unsupported = None
    modalities: Unsupported = None
    audio: Unsupported = None
    functions: Unsupported = None
    function_call: Unsupported = None
    web_search_options: Unsupported = None


class OpenAIEmbeddingsRequest(OpenAIBody):
    """One or more texts to embed, in OpenAI's format."""

    input: Annotated[str | list[Any], one_of("a string or a list of strings")] = Field(
        description="A text, or a list of 1 to 2048 texts. Token ids are not supported.",
        examples=["a fantasy football league"],
    )
    model: Annotated[Model | None, UnsetIfZero] = Field(
        default=None, description="Model name; `EMBEDDING_MODEL` if unset. There is no fallback."
    )
    encoding_format: Annotated[Literal["float", "base64"] | None, UnsetIfZero] = Field(
        default=None, description="Vectors as lists of numbers, or as base64-encoded little-endian float32."
    )
    dimensions: Annotated[StrictInt | None, Field(ge=1), UnsetIfZero] = Field(
        default=None, description="Truncate the vectors to this dimension; only for models trained for it."
    )
    input_type: Annotated[
        InputType | None,
        BeforeValidator(document_if_passage),
        UnsetIfZero,
        WithJsonSchema({"anyOf": [{"type": "string", "enum": [*INPUT_TYPES, "passage"]}, {"type": "null"}]}),
    ] = Field(
        default=None,
        description="Not part of OpenAI's API. What the texts are for: each gets the prefix that the model was trained "
        "with for it. `passage` means `document`. Without it, the texts are sent unchanged.",
    )
    truncate: Annotated[StrictBool, default_if_null(True)] = Field(
        default=True,
        description="Not in OpenAI's API. Truncate a text that is too long for the model instead of rejecting it.",
    )
    keep_alive: OptionalKeepAlive = Field(
        default=None,
        description="Not in OpenAI's API. How long the model stays loaded: seconds, or a duration such as `5m`.",
    )

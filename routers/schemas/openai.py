"""Requests of OpenAI's API. Unknown fields are ignored, for every client sends some that say nothing to Ollama."""

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
    BoundedList,
    Model,
    NonEmpty,
    Number,
    Options,
    Stop,
    UnsetIfEmpty,
    check_format,
    default_if_null,
)
from routers.schemas.ollama import ToolFunction
from services.ollama.types.durations import KeepAlive
from services.ollama.types.embedding_prefixes import INPUT_TYPES, InputType


def unset_if_zero(value: object) -> object:
    """Return None for the zero values that some serialisers write in place of leaving a field out."""
    return None if value in (0, "", [], {}) and value is not False else value


def document_if_passage(value: object) -> object:
    """Return the type of input that NVIDIA's NIM calls `passage` by its name here."""
    return "document" if value == "passage" else value


UnsetIfZero = BeforeValidator(unset_if_zero)
OptionalKeepAlive = Annotated[KeepAlive | None, UnsetIfEmpty]
# Not offered. Declared so that they can be refused by name where they would change the answer.
NotOffered = Annotated[Any, Field(description="Not offered: refused unless it asks for nothing.")]


class OpenAIBody(BaseModel):
    """A body, or a part of one."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ImageUrl(OpenAIBody):
    """An image in a message."""

    url: str = Field(description="A data URL; nothing is fetched.")


class ContentPart(OpenAIBody):
    """A part of a message: text, or an image."""

    type: str = Field(description="`text` or `image_url`.", examples=["text"])
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | str | None = None


class CalledFunction(OpenAIBody):
    """The function that a model wanted called."""

    name: NonEmpty
    arguments: str | dict[str, Any] | None = Field(default=None, description="A JSON object as text.")


class AssistantToolCall(OpenAIBody):
    """A call in an assistant's message."""

    id: str | None = None
    type: str | None = "function"
    function: CalledFunction


class ChatCompletionMessage(OpenAIBody):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"] = Field(
        description="Who speaks: `system` and `developer` instruct the model, `tool` brings a function's result."
    )
    content: str | BoundedList[ContentPart] | None = Field(
        default=None, description="Text, or parts of text and images."
    )
    reasoning_content: str | None = Field(default=None, description="The reasoning an assistant's message came with.")
    reasoning: str | None = Field(default=None, description="The same.")
    tool_calls: BoundedList[AssistantToolCall] | None = Field(
        default=None, description="The calls an assistant's message made."
    )
    tool_call_id: str | None = Field(default=None, description="The call whose result a `tool` message holds.")
    name: str | None = Field(default=None, description="The tool's name, for a result whose call is not there.")


class ChatCompletionTool(OpenAIBody):
    """A tool the model may use."""

    type: str | None = "function"
    function: ToolFunction | None = None


class JsonSchemaSpec(OpenAIBody):
    """The schema that an answer has to satisfy."""

    json_schema: Annotated[dict[str, Any], AfterValidator(check_format)] = Field(alias="schema")


class ResponseFormat(OpenAIBody):
    """The form of the answer."""

    type: str | None = Field(default=None, description="`text`, `json_object` or `json_schema`.")
    json_schema: JsonSchemaSpec | None = Field(default=None, description="With `json_schema`: `name` and `schema`.")


class StreamOptions(OpenAIBody):
    """What a stream shall have."""

    include_usage: bool | None = Field(default=None, description="One more chunk at the end, with `usage`.")


class ChatCompletionRequest(OpenAIBody):
    """A conversation to continue, as OpenAI's clients send it."""

    messages: Annotated[
        BoundedList[ChatCompletionMessage], Field(min_length=1, description="The conversation, oldest first.")
    ]
    model: Annotated[Model | None, UnsetIfZero] = Field(
        default=None, description="Model name; without one, `DEFAULT_MODEL` answers."
    )
    stream: Annotated[StrictBool, default_if_null(False)] = Field(
        default=False, description="Send the answer as Server-Sent Events while it is written."
    )
    stream_options: StreamOptions | None = Field(default=None, description="What a stream shall have.")
    max_completion_tokens: Annotated[StrictInt | None, Field(ge=1), UnsetIfZero] = Field(
        default=None, description="Tokens at most, thinking included; without it `MAX_TOKENS`."
    )
    max_tokens: Annotated[StrictInt | None, Field(ge=1), UnsetIfZero] = Field(
        default=None, description="The same by its older name; `max_completion_tokens` wins."
    )
    temperature: Number | None = Field(default=None, ge=0, le=2, description="0 to 2; without it `TEMPERATURE`.")
    top_p: Number | None = Field(default=None, ge=0, le=1, description="0 to 1; without it `TOP_P`.")
    frequency_penalty: Number | None = Field(
        default=None, ge=-2, le=2, description="-2 to 2; without it `FREQUENCY_PENALTY`."
    )
    presence_penalty: Number | None = Field(
        default=None, ge=-2, le=2, description="-2 to 2; without it `PRESENCE_PENALTY`."
    )
    seed: StrictInt | None = Field(default=None, description="The same seed gives the same text on the same server.")
    stop: Stop = Field(default=None, description="Text, or a list of texts, at which the answer ends.")
    response_format: ResponseFormat | None = Field(default=None, description="JSON, or JSON that satisfies a schema.")
    reasoning_effort: Annotated[Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None, UnsetIfZero] = (
        Field(
            default=None, description="How much to reason before answering, for models that do; `none` is not at all."
        )
    )
    tools: BoundedList[ChatCompletionTool] | None = Field(
        default=None, description="Functions the model may ask to have called."
    )
    tool_choice: str | dict[str, Any] | None = Field(
        default=None, description="`auto` or `none`; no model can be made to call a tool."
    )
    fallback: Annotated[StrictBool, default_if_null(True)] = Field(
        default=True,
        description="Not OpenAI's. Let `DEFAULT_MODEL` answer if the model is not installed; true by default.",
    )
    truncate: StrictBool | None = Field(
        default=None,
        description="Not OpenAI's. False refuses a prompt that is longer than the model's context, in place of "
        "cutting it; without it `TRUNCATE_PROMPTS`.",
    )
    shift: StrictBool | None = Field(
        default=None,
        description="Not OpenAI's. False ends the answer where the context is full, in place of dropping the oldest "
        "half of it; without it `SHIFT_CONTEXT`.",
    )
    keep_alive: OptionalKeepAlive = Field(
        default=None, description="Not OpenAI's. How long the model stays loaded: seconds, or text such as `5m`."
    )
    options: Options | None = Field(
        default=None, description="Not OpenAI's. Any further option of Ollama's; the fields above win."
    )
    n: NotOffered = None
    logit_bias: NotOffered = None
    logprobs: NotOffered = None
    top_logprobs: NotOffered = None
    modalities: NotOffered = None
    audio: NotOffered = None
    functions: NotOffered = None
    function_call: NotOffered = None
    web_search_options: NotOffered = None


class OpenAIEmbeddingsRequest(OpenAIBody):
    """One text or several to turn into vectors, as OpenAI's clients send them."""

    input: str | list[Any] = Field(
        description="A text, or a list of 1 to 2048. Token numbers are not taken.",
        examples=["a fantasy football league"],
    )
    model: Annotated[Model | None, UnsetIfZero] = Field(
        default=None, description="Model name; without one, `EMBEDDING_MODEL`. Never replaced."
    )
    encoding_format: Annotated[Literal["float", "base64"] | None, UnsetIfZero] = Field(
        default=None, description="Vectors as lists of numbers, or as base64 of little-endian float32."
    )
    dimensions: Annotated[StrictInt | None, Field(ge=1), UnsetIfZero] = Field(
        default=None, description="Cut the vectors to so many numbers; for models that were trained for it."
    )
    input_type: Annotated[
        InputType | None,
        BeforeValidator(document_if_passage),
        UnsetIfZero,
        WithJsonSchema({"anyOf": [{"type": "string", "enum": [*INPUT_TYPES, "passage"]}, {"type": "null"}]}),
    ] = Field(
        default=None,
        description="Not OpenAI's. The role of the texts, which get the prefix that the model was trained with for it; "
        "`passage` is `document`. Without one, they are sent as they are.",
    )
    truncate: Annotated[StrictBool, default_if_null(True)] = Field(
        default=True, description="Not OpenAI's. Cut a text that is too long for the model, otherwise refuse it."
    )
    keep_alive: OptionalKeepAlive = Field(default=None, description="Not OpenAI's. How long the model stays loaded.")

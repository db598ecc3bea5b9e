"""Response bodies of OpenAI's API for openapi.json; `routers.responses.openai` writes the responses."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from services.ollama.embeddings import EmbeddingWarning
from services.ollama.events import Warning_


@dataclass(slots=True)
class CompletionUsage:
    """Token counts reported by Ollama; 0 if it reported none. Reasoning counts as completion."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    context_length: Annotated[
        int | None,
        Field(description="Not part of OpenAI's API. Context length in tokens that the model is loaded with."),
    ] = None


@dataclass(slots=True)
class ResponseFunction:
    """The function to call."""

    name: str
    arguments: Annotated[str, Field(description="A JSON object as text.")]


@dataclass(slots=True)
class ResponseToolCall:
    """A tool call requested by the model."""

    id: str
    type: Literal["function"]
    function: ResponseFunction


@dataclass(slots=True, kw_only=True)
class ResponseMessage:
    """A message that can be sent back as part of the conversation."""

    role: Literal["assistant"]
    content: Annotated[str | None, Field(description="The text; null if there are tool calls.")]
    refusal: None = None
    reasoning_content: Annotated[str | None, Field(description="The model's reasoning, if any.")] = None
    reasoning: Annotated[str | None, Field(description="Alias of `reasoning_content`.")] = None
    tool_calls: Annotated[list[ResponseToolCall] | None, Field(description="Absent if there are none.")] = None


@dataclass(slots=True)
class Choice:
    """The response; there is always exactly one choice."""

    index: int
    message: ResponseMessage
    finish_reason: Literal["stop", "length", "tool_calls"]


@dataclass(slots=True)
class ChatCompletion:
    """A complete response in a conversation."""

    id: str
    object: Literal["chat.completion"]
    created: Annotated[int, Field(description="Unix timestamp in seconds.")]
    model: Annotated[str, Field(description="Short name of the model that responded.", examples=["gpt-oss"])]
    choices: list[Choice]
    usage: CompletionUsage
    warnings: Annotated[list[Warning_], Field(description="Not in OpenAI's API; see `/api/ollama/chat`.")]


@dataclass(slots=True)
class EmbeddingItem:
    """The vector of one text."""

    object: Literal["embedding"]
    index: int
    embedding: Annotated[
        list[float] | str, Field(description="Vector of unit length; base64 text if `encoding_format` is `base64`.")
    ]


@dataclass(slots=True)
class OpenAIEmbeddingsUsage:
    """Token counts reported by Ollama; 0 if it reported none."""

    prompt_tokens: int
    total_tokens: int


@dataclass(slots=True)
class OpenAIEmbeddings:
    """A vector for each text, in their order."""

    object: Literal["list"]
    data: list[EmbeddingItem]
    model: Annotated[str, Field(description="Short name.", examples=["nomic-embed-text"])]
    usage: OpenAIEmbeddingsUsage
    prefix: Annotated[str | None, Field(description="Not part of OpenAI's API. As in `/api/ollama/embeddings`.")]
    warnings: Annotated[
        list[EmbeddingWarning], Field(description="Not part of OpenAI's API. As in `/api/ollama/embeddings`.")
    ]


@dataclass(slots=True)
class OpenAIModel:
    """An installed model."""

    id: Annotated[str, Field(description="Short name, without `:latest`.", examples=["gpt-oss"])]
    object: Literal["model"]
    created: Annotated[int, Field(description="When it was installed, as a Unix timestamp in seconds; 0 if unknown.")]
    owned_by: Annotated[str, Field(description="The namespace of the model name.", examples=["library"])]
    context_length: Annotated[
        int | None,
        Field(description="Not part of OpenAI's API. Context length that it was trained for; null before Ollama 0.30."),
    ]
    capabilities: Annotated[
        list[str] | None,
        Field(description="Not part of OpenAI's API. `tools`, `vision`, `thinking`, …; null before Ollama 0.30."),
    ]


@dataclass(slots=True)
class OpenAIModels:
    """The installed models."""

    object: Literal["list"]
    data: list[OpenAIModel]


@dataclass(slots=True)
class OpenAIErrorObject:
    """Details of the error."""

    message: Annotated[str, Field(description="Error message for people.")]
    type: Literal["invalid_request_error", "authentication_error", "server_error"]
    param: Annotated[str | None, Field(description="The field that caused the error, if any.")]
    code: Annotated[str, Field(description="Error code for programs; the same as in problem documents.")]


@dataclass(slots=True)
class OpenAIError:
    """An error in OpenAI's format; the header `x-should-retry` tells whether to retry."""

    error: OpenAIErrorObject

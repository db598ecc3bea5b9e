"""Answers of OpenAI's API, as its description shows them; `routers.responses.openai` writes them."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from services.ollama.embeddings import EmbeddingWarning
from services.ollama.events import Warning_


@dataclass(slots=True)
class CompletionUsage:
    """Tokens counted by Ollama; 0 where it gave no number. Thinking counts as completion."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    context_length: Annotated[
        int | None,
        Field(description="Not OpenAI's: tokens the model was loaded for; absent if not known."),
    ] = None


@dataclass(slots=True)
class AnsweredFunction:
    """The function to call."""

    name: str
    arguments: Annotated[str, Field(description="A JSON object as text.")]


@dataclass(slots=True)
class AnsweredToolCall:
    """A call that the model wants made."""

    id: str
    type: Literal["function"]
    function: AnsweredFunction


@dataclass(slots=True, kw_only=True)
class AnsweredMessage:
    """A message that can be sent back as part of the conversation."""

    role: Literal["assistant"]
    content: Annotated[str | None, Field(description="The text; null beside calls of tools.")]
    refusal: None = None
    reasoning_content: Annotated[str | None, Field(description="The model's reasoning, if it gave any.")] = None
    reasoning: Annotated[str | None, Field(description="The same.")] = None
    tool_calls: Annotated[list[AnsweredToolCall] | None, Field(description="Absent where there are none.")] = None


@dataclass(slots=True)
class Choice:
    """The one answer."""

    index: int
    message: AnsweredMessage
    finish_reason: Literal["stop", "length", "tool_calls"]


@dataclass(slots=True)
class ChatCompletion:
    """A whole answer in a conversation."""

    id: str
    object: Literal["chat.completion"]
    created: Annotated[int, Field(description="Seconds since 1970.")]
    model: Annotated[str, Field(description="The model that answered, by its short name.", examples=["gpt-oss"])]
    choices: list[Choice]
    usage: CompletionUsage
    warnings: Annotated[list[Warning_], Field(description="Not OpenAI's: as in `/api/ollama/chat`.")]


@dataclass(slots=True)
class EmbeddingItem:
    """The vector of one text."""

    object: Literal["embedding"]
    index: int
    embedding: Annotated[list[float] | str, Field(description="Of unit length; base64 text where that was asked for.")]


@dataclass(slots=True)
class OpenAIEmbeddingsUsage:
    """Tokens counted by Ollama; 0 where it gave no number."""

    prompt_tokens: int
    total_tokens: int


@dataclass(slots=True)
class OpenAIEmbeddings:
    """A vector for each text, in their order."""

    object: Literal["list"]
    data: list[EmbeddingItem]
    model: Annotated[str, Field(description="Short name.", examples=["nomic-embed-text"])]
    usage: OpenAIEmbeddingsUsage
    prefix: Annotated[str | None, Field(description="Not OpenAI's: as in `/api/ollama/embeddings`.")]
    warnings: Annotated[list[EmbeddingWarning], Field(description="Not OpenAI's: as in `/api/ollama/embeddings`.")]


@dataclass(slots=True)
class OpenAIModel:
    """An installed model."""

    id: Annotated[str, Field(description="Short name: `:latest` is cut.", examples=["gpt-oss"])]
    object: Literal["model"]
    created: Annotated[int, Field(description="When it was installed: seconds since 1970, 0 if unknown.")]
    owned_by: Annotated[str, Field(description="The namespace of its name.", examples=["library"])]
    context_length: Annotated[
        int | None, Field(description="Not OpenAI's: tokens it was trained for; null before Ollama 0.30.")
    ]
    capabilities: Annotated[
        list[str] | None,
        Field(description="Not OpenAI's: `tools`, `vision`, `thinking`, …; null before Ollama 0.30."),
    ]


@dataclass(slots=True)
class OpenAIModels:
    """The installed models."""

    object: Literal["list"]
    data: list[OpenAIModel]


@dataclass(slots=True)
class OpenAIErrorObject:
    """What went wrong."""

    message: Annotated[str, Field(description="A sentence for people.")]
    type: Literal["invalid_request_error", "authentication_error", "server_error"]
    param: Annotated[str | None, Field(description="The field to change, where it is one.")]
    code: Annotated[str, Field(description="For programs: the codes of the problem documents.")]


@dataclass(slots=True)
class OpenAIError:
    """An error in OpenAI's form; the header `x-should-retry` tells whether to send the request again."""

    error: OpenAIErrorObject

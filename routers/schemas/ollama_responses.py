"""Response bodies of `/api/ollama`."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.ollama.embeddings import EmbeddingWarning
from services.ollama.events import Timings, Usage, Warning_


@dataclass(slots=True)
class GenerateResponse:
    """A complete response to a prompt."""

    success: Literal[True]
    response: Annotated[str, Field(description="The text; JSON text if `format` was set.")]
    model: Annotated[str, Field(description="Short name of the model that responded.", examples=["gpt-oss"])]
    requested_model: Annotated[str, Field(description="The requested model.", examples=["gpt-oss"])]
    fallback: Annotated[bool, Field(description="Whether `DEFAULT_MODEL` replaced the requested model.")]
    thinking: Annotated[str | None, Field(description="The model's reasoning, if any.")]
    done_reason: Annotated[str | None, Field(description="`stop`, or `length` if `max_tokens` was reached.")]
    usage: Usage
    timings: Timings
    warnings: Annotated[
        list[Warning_],
        Field(
            description="`fallback_model`: a fallback model responded. "
            "`empty_response_thinking`: thinking used all tokens. `invalid_json`: the text does not satisfy `format`. "
            "`prompt_truncated`: the prompt was longer than the context and the model read only a part of it. "
            "`context_full`: the response ended because the context was full. "
            "`truncate_unsupported`: this version of Ollama ignores `truncate` and `shift`. "
            "`model_reloaded`: the model hung, and was reloaded for this request."
        ),
    ]


class ToolCallFunction(BaseModel):
    """The function to call."""

    model_config = ConfigDict(extra="allow")
    index: int = Field(default=0, description="Position of the call; absent if Ollama does not send it.")
    name: Annotated[str, Field(description="The tool's name.", examples=["get_weather"])]
    arguments: Annotated[
        dict[str, Any], Field(description="Arguments by name; not validated against the tool's schema.")
    ]


class ToolCall(BaseModel):
    """A tool call requested by the model."""

    model_config = ConfigDict(extra="allow")
    id: str = Field(default="", description="Absent if Ollama does not send it.")
    function: ToolCallFunction


@dataclass(slots=True)
class AssistantMessage:
    """A message that can be sent back as part of the conversation."""

    role: Literal["assistant"]
    content: Annotated[str, Field(description="The same as `response`.")]
    thinking: Annotated[str | None, Field(description="The model's reasoning, if any.")]
    tool_calls: Annotated[list[ToolCall] | None, Field(description="Tool calls requested by the model.")]


@dataclass(slots=True)
class ChatResponse(GenerateResponse):
    """A complete response in a conversation."""

    message: AssistantMessage


@dataclass(slots=True)
class EmbeddingsUsage:
    """Token count reported by Ollama; null if it reported none."""

    prompt_tokens: int | None


@dataclass(slots=True)
class EmbeddingsResponse:
    """One flat vector for a text, a list of vectors for a list; each of unit length."""

    success: Literal[True]
    embeddings: Annotated[list[float] | list[list[float]], Field(description="Vectors in the order of the texts.")]
    dimension: Annotated[int, Field(description="Length of each vector.")]
    model: Annotated[str, Field(description="Short name.", examples=["nomic-embed-text"])]
    prefix: Annotated[
        str | None,
        Field(description="The prefix of each text for its `input_type`; null if the texts were sent unchanged."),
    ]
    usage: EmbeddingsUsage
    warnings: Annotated[
        list[EmbeddingWarning],
        Field(
            description="`unknown_prefix`: no prefix is known for this `input_type` of this model. "
            "`prompt_truncated`: a text was longer than the context and was truncated."
        ),
    ]


class ModelInfo(BaseModel):
    """An installed model."""

    name: Annotated[str, Field(description="Short name, without `:latest`.", examples=["gpt-oss"])]
    model: Annotated[str, Field(description="Exact name.", examples=["gpt-oss:latest"])]
    size: Annotated[int | None, Field(description="Size in bytes.")]
    modified_at: Annotated[str | None, Field(description="Date and time (RFC 3339).")]
    digest: Annotated[str | None, Field(description="Changes if the model changes.")]
    details: Annotated[
        dict[str, Any] | None, Field(description="Family, parameter size and quantization, as reported by Ollama.")
    ]
    capabilities: list[str] = Field(
        default=[], description="`completion`, `embedding`, `thinking`, …; absent if Ollama does not report them."
    )


@dataclass(slots=True)
class ModelsResponse:
    """The installed models."""

    success: Literal[True]
    models: list[ModelInfo]
    cached: Annotated[bool, Field(description="Whether the list is from the cache.")]
    stale: Annotated[bool, Field(description="Whether the list is outdated because Ollama does not respond.")]
    age_seconds: Annotated[float, Field(description="Age of the list in seconds.")]


@dataclass(slots=True)
class ModelDetailsResponse:
    """An installed model; null for what Ollama does not report."""

    success: Literal[True]
    name: Annotated[str, Field(description="Short name, without `:latest`.", examples=["gpt-oss"])]
    model: Annotated[str, Field(description="Exact name.", examples=["gpt-oss:latest"])]
    size: Annotated[int | None, Field(description="Size in bytes.")]
    modified_at: Annotated[str | None, Field(description="Date and time (RFC 3339).")]
    digest: Annotated[str | None, Field(description="Digest; changes when the model changes.")]
    family: Annotated[str | None, Field(description="Architecture.", examples=["gptoss"])]
    parameter_size: Annotated[str | None, Field(description="Number of parameters.", examples=["20.9B"])]
    quantization_level: Annotated[str | None, Field(description="Quantization of the weights.", examples=["MXFP4"])]
    context_length: Annotated[int | None, Field(description="Context length in tokens that the model was trained for.")]
    embedding_length: Annotated[int | None, Field(description="Length of its vectors.")]
    capabilities: Annotated[list[str] | None, Field(description="`completion`, `tools`, `vision`, `embedding`, …")]
    loaded: Annotated[bool | None, Field(description="Whether the model is loaded now.")]
    expires_at: Annotated[str | None, Field(description="When the model will be unloaded (RFC 3339).")]
    loaded_context_length: Annotated[int | None, Field(description="Context length in tokens that it is loaded with.")]
    size_vram: Annotated[int | None, Field(description="Bytes in GPU memory.")]
    prefixes: Annotated[
        dict[str, str] | None,
        Field(description="Prefix for each `input_type`; null if none are known for this model."),
    ]

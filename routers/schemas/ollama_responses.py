"""Response bodies of the typed API."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.ollama.events import Timings, Usage, Warning_


@dataclass(slots=True)
class GenerateResponse:
    """A whole answer to a prompt."""

    success: Literal[True]
    response: Annotated[str, Field(description="The text; JSON text if a `format` was asked for.")]
    model: Annotated[str, Field(description="The model that answered, by its short name.", examples=["gpt-oss"])]
    requested_model: Annotated[str, Field(description="The model that was to answer.", examples=["gpt-oss"])]
    fallback: Annotated[bool, Field(description="Whether `DEFAULT_MODEL` answered in place of another.")]
    thinking: Annotated[str | None, Field(description="The model's reasoning, if it gave any.")]
    done_reason: Annotated[str | None, Field(description="`stop`, or `length` where `max_tokens` cut it off.")]
    usage: Usage
    timings: Timings
    warnings: Annotated[
        list[Warning_],
        Field(
            description="`fallback_model`: another model answered. "
            "`empty_response_thinking`: thinking used up the tokens. `invalid_json`: not what `format` asked for. "
            "`model_reloaded`: the model hung, and was unloaded for this request."
        ),
    ]


class ToolCallFunction(BaseModel):
    """The function to call."""

    model_config = ConfigDict(extra="allow")
    index: int = Field(default=0, description="Its place among the calls; absent where Ollama gives none.")
    name: Annotated[str, Field(description="The tool's name.", examples=["get_weather"])]
    arguments: Annotated[dict[str, Any], Field(description="By name; not checked against the tool's schema.")]


class ToolCall(BaseModel):
    """A call that the model wants made."""

    model_config = ConfigDict(extra="allow")
    id: str = Field(default="", description="Absent where Ollama gives none.")
    function: ToolCallFunction


@dataclass(slots=True)
class AssistantMessage:
    """A message that can be sent back as part of the conversation."""

    role: Literal["assistant"]
    content: Annotated[str, Field(description="The same as `response`.")]
    thinking: Annotated[str | None, Field(description="The model's reasoning, if it gave any.")]
    tool_calls: Annotated[list[ToolCall] | None, Field(description="The calls it wants made.")]


@dataclass(slots=True)
class ChatResponse(GenerateResponse):
    """A whole answer in a conversation."""

    message: AssistantMessage


@dataclass(slots=True)
class EmbeddingsUsage:
    """Tokens counted by Ollama; null where it gave no number."""

    prompt_tokens: int | None


@dataclass(slots=True)
class EmbeddingsResponse:
    """One flat vector for a text, a list of vectors for a list; each of unit length."""

    success: Literal[True]
    embeddings: Annotated[list[float] | list[list[float]], Field(description="In the order of the texts.")]
    dimension: Annotated[int, Field(description="Numbers in a vector.")]
    model: Annotated[str, Field(description="Short name.", examples=["nomic-embed-text"])]
    usage: EmbeddingsUsage


class ModelInfo(BaseModel):
    """An installed model."""

    name: Annotated[str, Field(description="Short name: `:latest` is cut.", examples=["gpt-oss"])]
    model: Annotated[str, Field(description="Exact name.", examples=["gpt-oss:latest"])]
    size: Annotated[int | None, Field(description="Bytes.")]
    modified_at: Annotated[str | None, Field(description="Date and time (RFC 3339).")]
    digest: Annotated[str | None, Field(description="Changes when the model does.")]
    details: Annotated[
        dict[str, Any] | None, Field(description="Family, parameters, quantization, as Ollama gives them.")
    ]
    capabilities: list[str] = Field(
        default=[], description="`completion`, `embedding`, `thinking`, …; absent where Ollama gives none."
    )


@dataclass(slots=True)
class ModelsResponse:
    """The installed models; `stale` when Ollama could not be asked and the last list is shown."""

    success: Literal[True]
    models: list[ModelInfo]
    cached: Annotated[bool, Field(description="Whether it was answered without asking Ollama.")]
    stale: Annotated[bool, Field(description="Whether Ollama could not be asked for a newer one.")]
    age_seconds: Annotated[float, Field(description="Seconds since Ollama gave it.")]

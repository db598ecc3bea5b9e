"""Request bodies of `/api/ollama`."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
)

from routers.schemas.fields import (
    LIST,
    MAX_ITEMS,
    TEXT,
    BoundedList,
    Format,
    Images,
    Model,
    NonEmpty,
    Number,
    Options,
    Request,
    Stop,
    Think,
    UnsetIfEmpty,
    by_type,
    default_if_null,
)
from services.completion import CompletionRequest
from services.ollama.types.durations import KeepAlive
from services.ollama.types.embedding_prefixes import InputType

MAX_TEXTS = 512


class CompletionBody(Request):
    """Fields that generate and chat have in common."""

    model: Annotated[Model | None, UnsetIfEmpty] = Field(
        default=None, description="Model name; `DEFAULT_MODEL` if unset."
    )
    temperature: Number | None = Field(
        default=None, ge=0, le=2, description="Randomness, 0 (nearly deterministic) to 2; `TEMPERATURE` if unset."
    )
    max_tokens: StrictInt | None = Field(
        default=None, ge=1, description="Maximum number of tokens, including thinking; `MAX_TOKENS` if unset."
    )
    top_p: Number | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Nucleus sampling: probability mass to sample from, 0 to 1; `TOP_P` if unset.",
    )
    frequency_penalty: Number | None = Field(
        default=None,
        ge=-2,
        le=2,
        description="Penalty for repeated tokens, by their count, -2 to 2; `FREQUENCY_PENALTY` if unset.",
    )
    presence_penalty: Number | None = Field(
        default=None,
        ge=-2,
        le=2,
        description="Penalty for tokens that already occurred, -2 to 2; `PRESENCE_PENALTY` if unset.",
    )
    seed: StrictInt | None = Field(
        default=None, description="Random seed: the same seed gives the same text on the same server."
    )
    stop: Stop = Field(default=None, description="String, or list of strings, at which the response ends.")
    format: Annotated[Format | None, UnsetIfEmpty] = Field(
        default=None, description="`json`, or a JSON schema for the response."
    )
    think: Annotated[Think | None, UnsetIfEmpty] = Field(
        default=None,
        description="Whether the model thinks before responding; a level if the model has them, as gpt-oss does.",
    )
    truncate: StrictBool | None = Field(
        default=None,
        description="False rejects a prompt that is longer than the context. Otherwise Ollama truncates it, and "
        "`warnings` has `prompt_truncated`. Default: `TRUNCATE_PROMPTS`.",
    )
    shift: StrictBool | None = Field(
        default=None,
        description="False ends the response when the context is full (`context_full`). Otherwise Ollama drops the "
        "oldest half of it and continues. A changed value may reload the model. Default: `SHIFT_CONTEXT`.",
    )
    keep_alive: Annotated[KeepAlive | None, UnsetIfEmpty] = Field(
        default=None,
        description="How long the model stays loaded: seconds, or a duration such as `5m`; -1 is forever.",
    )
    options: Annotated[Options, default_if_null(Options())] = Field(
        default=Options(), description="Other options of Ollama; the fields above take precedence."
    )
    fallback: Annotated[StrictBool, default_if_null(True)] = Field(
        default=True, description="Use `DEFAULT_MODEL` if the model is not installed or fails to load; true by default."
    )
    stream: Annotated[StrictBool, default_if_null(False)] = Field(
        default=False,
        description="Stream the response, in the format that `Accept` names. False by default. "
        'openapi-fetch also needs `parseAs: "stream"`.',
    )

    def _request(self, path: Literal["/api/generate", "/api/chat"], content: dict[str, Any]) -> CompletionRequest:
        named = {
            "temperature": self.temperature,
            "num_predict": self.max_tokens,
            "top_p": self.top_p,
            "frequency_penalty": self.frequency_penalty,
            "presence_penalty": self.presence_penalty,
            "seed": self.seed,
            "stop": self.stop,
        }
        return CompletionRequest(
            path=path,
            model=self.model,
            content=content if self.think is None else content | {"think": self.think},
            options=(self.options.model_dump(exclude_none=True) if self.options.model_fields_set else {})
            | {name: value for name, value in named.items() if value is not None},
            response_format=self.format,
            truncate=self.truncate,
            shift=self.shift,
            keep_alive=self.keep_alive,
            allow_fallback=self.fallback,
        )


class GenerateRequest(CompletionBody):
    """A prompt to generate a response for."""

    prompt: NonEmpty = Field(description="The prompt.", examples=["Write a headline about this week's waiver wire."])
    system: Annotated[str | None, UnsetIfEmpty] = Field(
        default=None, description="System prompt; replaces the model's own."
    )
    images: Images = Field(default=None, description="Base64-encoded images, for vision models.")

    def to_completion_request(self) -> CompletionRequest:
        """Convert to a request for Ollama's `/api/generate`."""
        content = self.model_dump(include={"prompt", "system", "images"}, exclude_none=True)
        return self._request("/api/generate", content)


class FunctionCall(BaseModel):
    """The function of a tool call."""

    model_config = ConfigDict(extra="allow")
    name: NonEmpty
    arguments: Annotated[dict[str, Any], default_if_null({})] = Field(
        default={}, description="Arguments as an object, not as JSON text."
    )


class MessageToolCall(BaseModel):
    """A tool call in an assistant message."""

    model_config = ConfigDict(extra="allow")
    function: FunctionCall


class Message(Request):
    """A message of a conversation."""

    max_unknown_fields: ClassVar[int] = 5

    role: Literal["system", "user", "assistant", "tool"] = Field(
        description="Author of the message; `tool` is the result of a tool call."
    )
    content: str | None = Field(default="", description="The text.")
    thinking: Annotated[str | None, UnsetIfEmpty] = Field(
        default=None, description="Reasoning of an assistant message."
    )
    images: Images = Field(default=None, description="Base64-encoded images, for vision models.")
    tool_calls: Annotated[BoundedList[MessageToolCall] | None, UnsetIfEmpty] = Field(
        default=None, description="Tool calls of an assistant message."
    )
    tool_name: Annotated[str | None, UnsetIfEmpty] = Field(
        default=None, description="For `tool` messages: the name of the tool."
    )
    tool_call_id: Annotated[str | None, UnsetIfEmpty] = Field(
        default=None, description="For `tool` messages: the id of the tool call."
    )


class ToolFunction(BaseModel):
    """A function that the model may call."""

    model_config = ConfigDict(extra="allow")
    name: NonEmpty
    description: str | None = None
    parameters: dict[str, Any] | None = Field(default=None, description="JSON schema of the arguments.")


class Tool(BaseModel):
    """A tool that the model may call."""

    model_config = ConfigDict(extra="allow")
    type: Annotated[Literal["function"], default_if_null("function")] = "function"
    function: ToolFunction


class ChatRequest(CompletionBody):
    """A conversation to continue."""

    messages: list[Message] = Field(
        min_length=1, max_length=MAX_ITEMS, description="The conversation, oldest message first."
    )
    tools: Annotated[BoundedList[Tool] | None, UnsetIfEmpty] = Field(
        default=None, description="Functions that the model may call."
    )

    def to_completion_request(self) -> CompletionRequest:
        """Convert to a request for Ollama's `/api/chat`."""
        content = self.model_dump(include={"messages", "tools"}, exclude_none=True)
        return self._request("/api/chat", content)


class EmbeddingsRequest(Request):
    """One or more texts to embed."""

    text: Annotated[
        Annotated[NonEmpty, TEXT]
        | Annotated[list[NonEmpty], Field(min_length=1, max_length=MAX_TEXTS, fail_fast=True), LIST],
        by_type("a string or a list of strings"),
    ] = Field(description=f"A text, or a list of 1 to {MAX_TEXTS} texts.", examples=["a fantasy football league"])
    model: Annotated[Model | None, UnsetIfEmpty] = Field(
        default=None, description="Model name; `EMBEDDING_MODEL` if unset. There is no fallback."
    )
    input_type: Annotated[InputType | None, UnsetIfEmpty] = Field(
        default=None,
        description="What the texts are for: each gets the prefix that the model was trained with for it. Without it, "
        "the texts are sent unchanged. Use `document` for stored texts and `query` for searches.",
    )
    dimensions: StrictInt | None = Field(
        default=None, ge=1, description="Truncate the vectors to this dimension; only for models trained for it."
    )
    truncate: Annotated[StrictBool, default_if_null(True)] = Field(
        default=True,
        description="Truncate a text that is too long for the model instead of rejecting it; true by default.",
    )
    keep_alive: Annotated[KeepAlive | None, UnsetIfEmpty] = Field(
        default=None, description="How long the model stays loaded: seconds, or a duration such as `5m`."
    )

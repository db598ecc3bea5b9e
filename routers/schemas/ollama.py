"""Request bodies of the typed API."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
)

from routers.schemas.fields import (
    MAX_ITEMS,
    BoundedList,
    Format,
    Images,
    Model,
    NonEmpty,
    Number,
    Options,
    Request,
    Stop,
    UnsetIfEmpty,
    default_if_null,
)
from services.completion import CompletionRequest
from services.ollama.types.durations import KeepAlive
from services.ollama.types.embedding_prefixes import InputType

MAX_TEXTS = 512


class CompletionBody(Request):
    """What generate and chat have in common."""

    model: Annotated[Model | None, UnsetIfEmpty] = Field(
        default=None, description="Model name; without one, `DEFAULT_MODEL` answers."
    )
    temperature: Number | None = Field(
        default=None, ge=0, le=2, description="0 (nearly always the same) to 2 (wild); without it `TEMPERATURE`."
    )
    max_tokens: StrictInt | None = Field(
        default=None, ge=1, description="Tokens at most, thinking included; without it `MAX_TOKENS`."
    )
    top_p: Number | None = Field(
        default=None, ge=0, le=1, description="Probability mass to choose tokens from, 0 to 1; without it `TOP_P`."
    )
    frequency_penalty: Number | None = Field(
        default=None, ge=-2, le=2, description="Against repeated tokens, -2 to 2; without it `FREQUENCY_PENALTY`."
    )
    presence_penalty: Number | None = Field(
        default=None, ge=-2, le=2, description="Against tokens seen before, -2 to 2; without it `PRESENCE_PENALTY`."
    )
    seed: StrictInt | None = Field(default=None, description="The same seed gives the same text on the same server.")
    stop: Stop = Field(default=None, description="Text, or a list of texts, at which the answer ends.")
    format: Annotated[Format | None, UnsetIfEmpty] = Field(
        default=None, description="`json`, or a JSON schema that the answer has to satisfy."
    )
    think: Annotated[StrictBool | Literal["low", "medium", "high"] | None, UnsetIfEmpty] = Field(
        default=None, description="Reason before answering; a level where the model has them, as gpt-oss does."
    )
    truncate: StrictBool | None = Field(
        default=None,
        description="False refuses a prompt that is longer than the model's context; else Ollama cuts it, and "
        "`warnings` says `prompt_truncated`. Without it `TRUNCATE_PROMPTS`.",
    )
    shift: StrictBool | None = Field(
        default=None,
        description="False ends the answer where the context is full (`context_full`); else Ollama drops the oldest "
        "half of it and goes on. A change may reload the model. Without it `SHIFT_CONTEXT`.",
    )
    keep_alive: Annotated[KeepAlive | None, UnsetIfEmpty] = Field(
        default=None,
        description="How long the model stays loaded: seconds, or a duration such as `5m`; -1 is for ever.",
    )
    options: Annotated[Options, default_if_null(Options())] = Field(
        default=Options(), description="Any further option of Ollama's; the fields above win."
    )
    fallback: Annotated[StrictBool, default_if_null(True)] = Field(
        default=True, description="Let `DEFAULT_MODEL` answer if the model is not installed; true by default."
    )
    stream: Annotated[StrictBool, default_if_null(False)] = Field(
        default=False,
        description="Send the answer as it is written; `Accept` names the form. False by default. "
        'openapi-fetch needs `parseAs: "stream"` with it.',
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
    """A prompt to answer."""

    prompt: NonEmpty = Field(
        description="What to answer.", examples=["Write a headline about this week's waiver wire."]
    )
    system: Annotated[str | None, UnsetIfEmpty] = Field(
        default=None, description="How the model is to behave; replaces the model's own."
    )
    images: Images = Field(default=None, description="Base64 images, for models that see.")

    def to_completion_request(self) -> CompletionRequest:
        """Return it as Ollama's `/api/generate` wants it."""
        content = self.model_dump(include={"prompt", "system", "images"}, exclude_none=True)
        return self._request("/api/generate", content)


class FunctionCall(BaseModel):
    """The function a model wants called."""

    model_config = ConfigDict(extra="allow")
    name: NonEmpty
    arguments: Annotated[dict[str, Any], default_if_null({})] = Field(
        default={}, description="An object, not JSON text."
    )


class MessageToolCall(BaseModel):
    """A call in an assistant's message."""

    model_config = ConfigDict(extra="allow")
    function: FunctionCall


class Message(Request):
    """One message of a conversation."""

    max_unknown_fields: ClassVar[int] = 5

    role: Literal["system", "user", "assistant", "tool"] = Field(
        description="Who speaks: `system` instructs the model, `tool` brings a function's result."
    )
    content: str | None = Field(default="", description="Plain text.")
    thinking: Annotated[str | None, UnsetIfEmpty] = Field(
        default=None, description="The reasoning an assistant's message came with."
    )
    images: Images = Field(default=None, description="Base64 images, for models that see.")
    tool_calls: Annotated[BoundedList[MessageToolCall] | None, UnsetIfEmpty] = Field(
        default=None, description="The calls an assistant's message made."
    )
    tool_name: Annotated[str | None, UnsetIfEmpty] = Field(
        default=None, description="The tool whose result a `tool` message holds."
    )
    tool_call_id: Annotated[str | None, UnsetIfEmpty] = Field(
        default=None, description="The call whose result a `tool` message holds."
    )


class ToolFunction(BaseModel):
    """A function the model may call."""

    model_config = ConfigDict(extra="allow")
    name: NonEmpty
    description: str | None = None
    parameters: dict[str, Any] | None = Field(default=None, description="JSON schema of its arguments.")


class Tool(BaseModel):
    """A tool the model may use."""

    model_config = ConfigDict(extra="allow")
    type: Annotated[Literal["function"], default_if_null("function")] = "function"
    function: ToolFunction


class ChatRequest(CompletionBody):
    """A conversation to continue."""

    messages: list[Message] = Field(min_length=1, max_length=MAX_ITEMS, description="The conversation, oldest first.")
    tools: Annotated[BoundedList[Tool] | None, UnsetIfEmpty] = Field(
        default=None, description="Functions the model may ask to have called."
    )

    def to_completion_request(self) -> CompletionRequest:
        """Return it as Ollama's `/api/chat` wants it."""
        content = self.model_dump(include={"messages", "tools"}, exclude_none=True)
        return self._request("/api/chat", content)


class EmbeddingsRequest(Request):
    """One text or several to turn into vectors."""

    text: NonEmpty | Annotated[list[NonEmpty], Field(min_length=1, max_length=MAX_TEXTS)] = Field(
        description=f"A text, or a list of 1 to {MAX_TEXTS}.", examples=["a fantasy football league"]
    )
    model: Annotated[Model | None, UnsetIfEmpty] = Field(
        default=None, description="Model name; without one, `EMBEDDING_MODEL`. Never replaced."
    )
    input_type: Annotated[InputType | None, UnsetIfEmpty] = Field(
        default=None,
        description="The role of the texts: each gets the prefix that the model was trained with for it. "
        "Without one, the texts are sent as they are. Make stored vectors as `document` and searches as `query`.",
    )
    dimensions: StrictInt | None = Field(
        default=None, ge=1, description="Cut the vectors to so many numbers; for models that were trained for it."
    )
    truncate: Annotated[StrictBool, default_if_null(True)] = Field(
        default=True, description="Cut a text that is too long for the model, otherwise refuse it; true by default."
    )
    keep_alive: Annotated[KeepAlive | None, UnsetIfEmpty] = Field(
        default=None, description="How long the model stays loaded."
    )

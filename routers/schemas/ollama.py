"""The REST API's requests and answers; the events of a stream are those of `services.completion`."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from services.completion import CompletionRequest
from services.ollama.events import Timings, Usage, Warning_
from services.ollama.types.durations import KeepAlive
from services.ollama.types.images import plain_base64
from services.ollama.types.json_schema import JsonSchema
from services.ollama.types.model_names import ModelName

MAX_TEXTS = 512
MAX_ITEMS = 2_000


def check_model_name(name: str) -> str:
    """Refuse what Ollama would call an invalid model name."""
    ModelName.parse(name)
    return name.strip()


def check_image_list(value: object) -> object:
    """Say of an object of bytes in place of a list what to send."""
    return [value] if isinstance(value, dict) else value


def check_format(value: object) -> object:
    """Refuse what is neither `json` nor a JSON schema."""
    if isinstance(value, dict):
        try:
            return JsonSchema.of(value)
        except ValueError as error:
            msg = f"not a usable JSON schema: {error}"
            raise ValueError(msg) from None
    return value


def check_num_predict(tokens: int) -> int:
    """Refuse 0, which some versions of Ollama take for no limit at all."""
    if tokens == 0:
        msg = "a positive number of tokens, or -1 for Ollama's own limit"
        raise ValueError(msg)
    return tokens


def unset_if_empty(value: object) -> object:
    """Return None for an empty text or list, where an empty one says nothing."""
    return None if isinstance(value, str | list) and not value else value


def without_empty(value: object) -> object:
    """Return a list without its empty texts, at which an answer would end at once; None if nothing is left."""
    if not isinstance(value, list):
        return value
    return [one for one in value if not isinstance(one, str) or one] or None


def check_length(value: object) -> object:
    """Refuse a long list before its items are looked at."""
    if isinstance(value, list) and len(value) > MAX_ITEMS:
        msg = f"at most {MAX_ITEMS} items, not {len(value)}"
        raise ValueError(msg)
    return value


def default_if_null(default: object) -> BeforeValidator:
    """Return a validator that takes null for the default."""
    return BeforeValidator(lambda value: default if value is None else value)


UnsetIfEmpty = BeforeValidator(unset_if_empty)
NonEmpty = Annotated[str, StringConstraints(min_length=1)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Model = Annotated[str, AfterValidator(check_model_name), Field(examples=["gpt-oss"])]
Image = Annotated[str, BeforeValidator(plain_base64)]
Format = Annotated[Literal["json"] | dict[str, Any], AfterValidator(check_format)]
ToolCalls = list[dict[str, Any]] | None


T = TypeVar("T")
# The first bad item is complained of alone: a complaint costs more than an item.
BoundedList = Annotated[list[T], Field(max_length=MAX_ITEMS, fail_fast=True), BeforeValidator(check_length)]
Images = Annotated[BoundedList[Image] | None, BeforeValidator(check_image_list), UnsetIfEmpty]
StopList = Annotated[BoundedList[str] | None, BeforeValidator(without_empty)]
Stop = Annotated[
    BoundedList[str] | None,
    BeforeValidator(without_empty),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "null"}]}),
]


class Request(BaseModel):
    """A body; unknown fields are refused, for a misspelt one would be lost."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    max_unknown_fields: ClassVar[int] = 20

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, value: Any) -> Any:
        if isinstance(value, dict) and len(value) > len(cls.__pydantic_fields__) + cls.max_unknown_fields:
            msg = f"{len(value)} fields, of which more than {cls.max_unknown_fields} are unknown"
            raise ValueError(msg)
        return value


class Options(Request):
    """Ollama's own options. Ollama answers a wrong type with a 500 and ignores an unknown name, so both are refused."""

    num_keep: StrictInt | None = None
    seed: StrictInt | None = None
    num_predict: Annotated[StrictInt, AfterValidator(check_num_predict)] | None = Field(
        default=None, description="Tokens at most; -1 is Ollama's own limit."
    )
    top_k: StrictInt | None = None
    top_p: Number | None = None
    min_p: Number | None = None
    typical_p: Number | None = None
    tfs_z: Number | None = None
    repeat_last_n: StrictInt | None = None
    temperature: Number | None = None
    repeat_penalty: Number | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    mirostat: StrictInt | None = None
    mirostat_tau: Number | None = None
    mirostat_eta: Number | None = None
    penalize_newline: StrictBool | None = None
    stop: StopList = None
    num_ctx: Annotated[StrictInt | None, Field(ge=1, description="Context length; changing it reloads the model.")] = (
        None
    )
    num_batch: StrictInt | None = None
    num_gpu: StrictInt | None = None
    main_gpu: StrictInt | None = None
    num_thread: StrictInt | None = None
    use_mmap: StrictBool | None = None
    use_mlock: StrictBool | None = None
    low_vram: StrictBool | None = None
    numa: StrictBool | None = None
    draft_num_predict: StrictInt | None = None


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
        default=False, description="Send the answer as it is written; `Accept` names the form. False by default."
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
    dimensions: StrictInt | None = Field(
        default=None, ge=1, description="Cut the vectors to so many numbers; for models that were trained for it."
    )
    truncate: Annotated[StrictBool, default_if_null(True)] = Field(
        default=True, description="Cut a text that is too long for the model, otherwise refuse it; true by default."
    )
    keep_alive: Annotated[KeepAlive | None, UnsetIfEmpty] = Field(
        default=None, description="How long the model stays loaded."
    )


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
            "`empty_response_thinking`: thinking used up the tokens. `invalid_json`: not what `format` asked for."
        ),
    ]


@dataclass(slots=True)
class AssistantMessage:
    """A message that can be sent back as part of the conversation."""

    role: Literal["assistant"]
    content: Annotated[str, Field(description="The same as `response`.")]
    thinking: Annotated[str | None, Field(description="The model's reasoning, if it gave any.")]
    tool_calls: Annotated[ToolCalls, Field(description='Calls it wants made: `{"function": {"name", "arguments"}}`.')]


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


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    success: Literal[False]
    type: str = Field(description="`urn:problem:` and the code.")
    title: str = Field(description="What the code means, in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="A sentence for people.")
    code: str = Field(description="For programs.")
    retryable: bool = Field(
        description="True if the request did not run and may succeed later: sending it again is safe."
    )
    request_id: str = Field(description="Finds the request in the service's log.")
    available: list[str] | None = Field(default=None, description="With `model_not_found`: the installed models.")
    errors: list[dict[str, str]] | None = Field(default=None, description="With `invalid_request`: the fields.")


class OllamaHealth(BaseModel):
    """What is known of Ollama; `version` and `latency_ms` are null while it is down."""

    version: str | None
    latency_ms: float | None = Field(description="Milliseconds of a round trip.")
    models: dict[str, bool | None] = Field(description="Whether each configured model is installed; null if unknown.")
    running: int = Field(description="Requests at work in Ollama.")
    queued: int = Field(description="Requests that wait for a place.")
    last_success_at: str | None = Field(
        description="When a generation, chat or embedding last succeeded (RFC 3339); null if none has since the start."
    )
    last_failure_at: str | None = Field(
        description="When Ollama last failed one; a client that left and a full queue do not count."
    )
    last_failure_code: str | None = Field(description="The `code` of that failure.", examples=["timeout"])


class Readiness(BaseModel):
    """Whether requests should be sent here."""

    ready: bool


class Liveness(BaseModel):
    """That the process runs."""

    alive: bool


class HealthResponse(BaseModel):
    """The state of the service and of what it needs."""

    status: Literal["healthy", "degraded"]
    services: dict[str, Literal["up", "down"]]
    ollama: OllamaHealth
    checked_at: str = Field(description="Date and time (RFC 3339).")

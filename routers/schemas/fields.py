"""Field types and validators that request bodies share."""

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

from services.ollama.types.images import plain_base64
from services.ollama.types.json_schema import JsonSchema
from services.ollama.types.model_names import ModelName

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

"""Field types and validators shared by request bodies."""

from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    Tag,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from services.ollama.types.images import plain_base64
from services.ollama.types.json_schema import JsonSchema
from services.ollama.types.model_names import ModelName

MAX_ITEMS = 2_000


def check_model_name(name: str) -> str:
    """Reject a model name that Ollama would reject as invalid.

    Raises:
        ValueError: if it is invalid.
    """
    ModelName.parse(name)
    return name.strip()


def wrap_image_object(value: object) -> object:
    """Wrap an object in a list, so that the error explains how to send an image; Node's `Buffer` becomes an object."""
    return [value] if isinstance(value, dict) else value


def check_format(value: object) -> object:
    """Reject a format that is neither `json` nor a usable JSON schema.

    Raises:
        ValueError: if the schema is not usable.
    """
    if isinstance(value, dict):
        try:
            return JsonSchema.of(value)
        except ValueError as error:
            msg = f"not a usable JSON schema: {error}"
            raise ValueError(msg) from None
    return value


def check_num_predict(tokens: int) -> int:
    """Reject 0, which some versions of Ollama treat as unlimited.

    Raises:
        ValueError: if it is 0.
    """
    if tokens == 0:
        msg = "must be a positive number of tokens, or -1 for Ollama's own limit"
        raise ValueError(msg)
    return tokens


def unset_if_empty(value: object) -> object:
    """Return None for an empty string or list, in fields where it has no meaning."""
    return None if isinstance(value, str | list) and not value else value


def drop_empty_strings(value: object) -> object:
    """Remove empty strings from a list, as they would end a response at once; None if nothing is left."""
    if not isinstance(value, list):
        return value
    return [one for one in value if not isinstance(one, str) or one] or None


def wrap_stop(value: object) -> object:
    """Wrap a string in a list; reject what is neither, as the error of a list would not mention strings."""
    if value is not None and not isinstance(value, str | list):
        msg = "Input should be a string or a list of strings"
        raise ValueError(msg)
    return [value] if isinstance(value, str) else value


def check_length(value: object) -> object:
    """Reject a list that is too long before its items are validated.

    Raises:
        ValueError: if it has more than `MAX_ITEMS` items.
    """
    if isinstance(value, list) and len(value) > MAX_ITEMS:
        msg = f"must have at most {MAX_ITEMS} items, not {len(value)}"
        raise ValueError(msg)
    return value


def one_of(expected: str) -> WrapValidator:
    """Return a validator that reports one error, "Input should be …", where a union has one for each of its members."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise PydanticCustomError("one_of", f"Input should be {expected}") from None

    return WrapValidator(validate)


def by_type(expected: str) -> Discriminator:
    """Select the member of a union by its tag, `TEXT`, `LIST` or `OBJECT`, so that only its errors are reported."""
    message = f"Input should be {expected}"
    return Discriminator(_tag_of, custom_error_type="one_of", custom_error_message=message)


def _tag_of(value: object) -> str | None:
    match value:
        case str():
            return "<text>"
        case list():
            return "<list>"
        case dict() | BaseModel():
            return "<object>"
    return None


def default_if_null(default: object) -> BeforeValidator:
    """Return a validator that replaces null with the default."""
    return BeforeValidator(lambda value: default if value is None else value)


# The tags cannot be mistaken for the names of fields, as the location of an error has both.
TEXT, LIST, OBJECT = Tag("<text>"), Tag("<list>"), Tag("<object>")
UnsetIfEmpty = BeforeValidator(unset_if_empty)
NonEmpty = Annotated[str, StringConstraints(min_length=1)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Model = Annotated[str, AfterValidator(check_model_name), Field(examples=["gpt-oss"])]
Image = Annotated[str, BeforeValidator(plain_base64)]
Format = Annotated[
    Literal["json"] | dict[str, Any], one_of("'json' or an object, a JSON schema"), AfterValidator(check_format)
]
Think = Annotated[StrictBool | Literal["low", "medium", "high"], one_of("true, false, 'low', 'medium' or 'high'")]


T = TypeVar("T")
# Only the first invalid item is reported, as an error costs more than an item.
BoundedList = Annotated[list[T], Field(max_length=MAX_ITEMS, fail_fast=True), BeforeValidator(check_length)]
Images = Annotated[BoundedList[Image] | None, BeforeValidator(wrap_image_object), UnsetIfEmpty]
StopList = Annotated[BoundedList[str] | None, BeforeValidator(drop_empty_strings)]
Stop = Annotated[
    BoundedList[str] | None,
    BeforeValidator(drop_empty_strings),
    BeforeValidator(wrap_stop),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "null"}]}),
]


class Request(BaseModel):
    """A request body; unknown fields are rejected, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    max_unknown_fields: ClassVar[int] = 20

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, value: Any) -> Any:
        if isinstance(value, dict) and len(value) > len(cls.__pydantic_fields__) + cls.max_unknown_fields:
            msg = f"has {len(value)} fields, more than {cls.max_unknown_fields} of them unknown"
            raise ValueError(msg)
        return value


class Options(Request):
    """Ollama's model options; rejects wrong types (500 in Ollama) and unknown names (ignored by Ollama)."""

    num_keep: StrictInt | None = None
    seed: StrictInt | None = None
    num_predict: Annotated[StrictInt, AfterValidator(check_num_predict)] | None = Field(
        default=None, description="Maximum number of tokens; -1 is Ollama's own limit."
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
    num_ctx: Annotated[
        StrictInt | None, Field(ge=1, description="Context length in tokens; changing it reloads the model.")
    ] = None
    num_batch: StrictInt | None = None
    num_gpu: StrictInt | None = None
    main_gpu: StrictInt | None = None
    num_thread: StrictInt | None = None
    use_mmap: StrictBool | None = None
    use_mlock: StrictBool | None = None
    low_vram: StrictBool | None = None
    numa: StrictBool | None = None
    draft_num_predict: StrictInt | None = None

"""The problem document of an error."""

from typing import Literal

from pydantic import (
    BaseModel,
    Field,
)


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    success: Literal[False]
    type: str = Field(description="`urn:problem:` and the code.")
    title: str = Field(description="The meaning of the code.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="Error message for people.")
    code: str = Field(description="Error code for programs.")
    retryable: bool = Field(
        description="Whether the request did not run and may succeed later: sending it again is safe."
    )
    request_id: str = Field(description="Identifies the request in the log.")
    available: list[str] | None = Field(default=None, description="With `model_not_found`: the installed models.")
    errors: list[dict[str, str]] | None = Field(default=None, description="With `invalid_request`: the invalid fields.")

"""The problem document."""

from typing import Literal

from pydantic import (
    BaseModel,
    Field,
)


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

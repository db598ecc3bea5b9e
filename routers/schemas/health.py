"""Response bodies of the health probes."""

from typing import Literal

from pydantic import (
    BaseModel,
    Field,
)


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


class Build(BaseModel):
    """What runs."""

    version: str
    commit: str | None = Field(description="The commit that it was built from, if the build named it.")
    python: str
    libraries: dict[str, str]


class HealthResponse(BaseModel):
    """The state of the service and of what it needs."""

    status: Literal["healthy", "degraded"]
    services: dict[str, Literal["up", "down"]]
    ollama: OllamaHealth
    build: Build
    checked_at: str = Field(description="Date and time (RFC 3339).")

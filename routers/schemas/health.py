"""Response bodies of the health probes."""

from typing import Literal

from pydantic import (
    BaseModel,
    Field,
)


class StuckModel(BaseModel):
    """A model that was loaded and did not answer any more, as can happen when a reader leaves in mid-stream."""

    model: str
    state: Literal["reloading", "reloaded", "stuck"] = Field(
        description="`stuck`: requests to it are refused until one gets through."
    )
    noticed_at: str = Field(description="When it was last noticed (RFC 3339).")
    reloads: int = Field(description="How often it was unloaded to cure it.")
    reloaded_at: str | None


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
    stuck_models: list[StuckModel] = Field(description="Models that hung since the start, and what was done.")


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

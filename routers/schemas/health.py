"""Response bodies of the health probes."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class StuckModel(BaseModel):
    """A model that was loaded and did not answer any more, as can happen when a reader leaves in mid-stream."""

    model: str
    state: Literal["reloading", "reloaded", "stuck"] = Field(
        description="`stuck`: requests to it are refused until one gets through."
    )
    noticed_at: str = Field(description="When it was last noticed (RFC 3339).")
    reloads: int = Field(description="How often it was unloaded.")
    reloaded_at: str | None


class OllamaHealth(BaseModel):
    """The state of Ollama; `version` and `latency_ms` are null while it is down."""

    version: str | None
    latency_ms: float | None = Field(description="Round-trip time in milliseconds.")
    models: dict[str, bool | None] = Field(description="Whether each configured model is installed; null if unknown.")
    running: int = Field(description="Number of requests running in Ollama.")
    queued: int = Field(description="Number of requests waiting in the queue.")
    last_success_at: str | None = Field(
        description="When a generation, chat or embedding last succeeded (RFC 3339); null if none has since startup."
    )
    last_failure_at: str | None = Field(
        description="When one last failed in Ollama (RFC 3339); disconnected clients and a full queue do not count."
    )
    last_failure_code: str | None = Field(description="The `code` of that failure.", examples=["timeout"])
    stuck_models: list[StuckModel] = Field(description="Models that hung since the start, and what was done.")


class Readiness(BaseModel):
    """Whether the service is ready for requests."""

    ready: bool


class Liveness(BaseModel):
    """Whether the process is alive; always true."""

    alive: bool


class Build(BaseModel):
    """Versions of the service and what it is built on."""

    version: str
    commit: str | None = Field(description="The commit that was built; null if unknown.")
    python: str
    libraries: dict[str, str]


class Services(BaseModel):
    """The state of each component; registered components have their own words."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str]

    ollama: Literal["up", "down"]
    weaviate: Literal["up", "down"] = Field(default="down", description="Absent if `WEAVIATE_URL` is not set.")
    crewai_agents: str = Field(
        default="not_initialized",
        description="Absent if neither `CREWAI_HEALTH_URL` is set nor the component registered in the process.",
        examples=["initialized"],
    )


class HealthResponse(BaseModel):
    """The state of the service and of its components."""

    status: Literal["healthy", "degraded"] = Field(description="`degraded` if any component is down.")
    services: Services
    ollama: OllamaHealth
    build: Build
    checked_at: str = Field(description="Date and time (RFC 3339).")

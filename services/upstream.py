"""State of the Ollama server per event loop: client, limiter, breaker, model list, stuck models, outcomes."""

import logging
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from config import Settings
from services.circuit_breaker import CircuitBreaker
from services.concurrency_limiter import ConcurrencyLimiter
from services.models.context_lengths import ContextLengths
from services.models.model_catalog import ModelCatalog
from services.models.model_facts import ModelFactsCache
from services.ollama.client import ClientOptions, OllamaClient
from services.ollama.errors import (
    InvalidRequestError,
    ModelNotFoundError,
    NotFoundError,
    OllamaError,
    OllamaResponseError,
    OverloadedError,
    RejectedByOllamaError,
    ShuttingDownError,
)
from services.ollama.parsing.model_list import parse_models
from services.ollama.types.model_names import ModelName
from services.operation import OPERATION_NAMES, OnOperation, Operation, Tracked
from services.single_flight import SingleFlight
from services.stuck_models.loaded_models import LoadedModels
from services.stuck_models.watch import StuckModels

logger = logging.getLogger(__name__)

LOAD_FAILURE_STATUS = 500
FIRST_WITH_LLAMA_SERVER = (0, 30)
FIRST_WITH_TRUNCATE = (0, 12, 6)
VERSION = re.compile(r"v?(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?")
NOT_LOAD_FAILURES = ("while running the model", "unexpectedly stopped", "invalid format", "in format")

NOT_OLLAMA_FAILURES = (
    InvalidRequestError,
    ModelNotFoundError,
    NotFoundError,
    OverloadedError,
    RejectedByOllamaError,
    ShuttingDownError,
)


def client_options(settings: Settings) -> ClientOptions:
    """Return the client's options from the settings."""
    key = settings.ollama_api_key
    return ClientOptions(
        base_url=settings.ollama_base_url,
        api_key=key.get_secret_value() if key else None,
        max_connections=settings.ollama_max_connections,
        connect_timeout=settings.ollama_connect_timeout,
        request_timeout=settings.ollama_request_timeout,
        stream_idle_timeout=settings.ollama_stream_idle_timeout,
        health_timeout=settings.ollama_health_timeout,
        retry_attempts=settings.ollama_retry_attempts,
        retry_backoff=settings.ollama_retry_backoff,
        model_header=settings.upstream_model_header,
    )


@dataclass(frozen=True, slots=True)
class Health:
    """Result of a health probe; `latency_ms` is the round trip of the `/api/version` call."""

    version: str
    latency_ms: float


@dataclass(frozen=True, slots=True)
class ServiceStats:
    """The state of the service at one moment; `last_success` is a Unix time in seconds."""

    running: int
    queued: int
    slots: int
    queue_size: int
    is_reachable: bool
    is_circuit_open: bool
    models: int
    model_list_age: float | None
    stuck_models: int
    model_reloads: int
    last_success: float | None


class Outcomes:
    """When generation requests last succeeded and last failed; Unix times in seconds.

    Not counted: disconnected clients, requests that the service itself rejects, and requests that Ollama rejects as
    invalid.
    """

    def __init__(self) -> None:
        self.last_success: float | None = None
        self.last_failure: float | None = None
        self.last_failure_code: str | None = None

    def succeeded(self) -> None:
        """Record a complete response."""
        self.last_success = time.time()

    def failed(self, error: OllamaError) -> None:
        """Record a failed request, unless the failure is not Ollama's."""
        if not isinstance(error, NOT_OLLAMA_FAILURES):
            self.last_failure = time.time()
            self.last_failure_code = error.code


class Upstream:
    """Client, limiter, circuit breaker, model catalog and outcomes of one event loop."""

    def __init__(self, settings: Settings, client: OllamaClient, on_operation: OnOperation) -> None:
        self.client = client
        self._on_operation = on_operation
        self.limiter = ConcurrencyLimiter(
            slots=settings.ollama_max_connections,
            queue_size=settings.ollama_queue_size,
            queue_timeout_seconds=settings.ollama_queue_timeout,
        )
        self.breaker = CircuitBreaker(cooldown_seconds=settings.ollama_down_cooldown)
        self.catalog = ModelCatalog(self._tags, ttl_seconds=settings.ollama_models_ttl)
        self.facts = ModelFactsCache(self.catalog, client.show, self._ps)
        self.contexts = ContextLengths(self.facts)
        self.health = SingleFlight(self._probe)
        self.stuck_models = StuckModels(
            LoadedModels(client),
            stuck_after_seconds=settings.ollama_stuck_after,
            heals=settings.ollama_heal_stuck,
        )
        self._version: tuple[int, int, int] | None = None
        self._asked_version = False
        self.outcomes = Outcomes()
        self._probe_failed = False

    @property
    def runs_llama_server(self) -> bool | None:
        """Whether this is Ollama 0.30 or newer, whose models run in llama-server; None if that is not known.

        Builds from source call themselves 0.0.0, but their model lists differ.
        """
        if self._release is not None:
            return self._release >= FIRST_WITH_LLAMA_SERVER
        return self.catalog.has_capabilities

    @property
    def ignores_truncate(self) -> bool:
        """Whether this is known to be an Ollama before 0.12.6, which ignores `truncate` and `shift` in completions."""
        return self._release is not None and self._release < FIRST_WITH_TRUNCATE

    @property
    def _release(self) -> tuple[int, int, int] | None:
        """The version; None if it is not known, as of builds from source, which call themselves 0.0.0."""
        return self._version if self._version is not None and self._version > (0, 0, 0) else None

    @property
    def is_reachable(self) -> bool:
        """Whether the last connection and the last health probe succeeded."""
        return not (self.breaker.is_open or self._probe_failed)

    def tracked(self, path: str, requested_model: str | None) -> Tracked:
        """Return the context manager for a request to a path of Ollama's that runs a model."""
        operation = Operation(OPERATION_NAMES[path], requested_model)
        return Tracked(operation, self.catalog.installed_name, self._on_operation)

    async def close(self) -> None:
        """Cancel shared calls that are still running."""
        await self.stuck_models.close()
        await self.health.cancel()
        await self.catalog.refresh.cancel()
        await self.facts.cancel()

    async def learn_version(self) -> None:
        """Ask for the version if nobody has yet."""
        if not self._asked_version:
            self._asked_version = True
            with suppress(OllamaError):
                await self.health()

    async def exact_name(self, name: str) -> str | None:
        """Return the exact name of an installed model, or None if it is not installed.

        If the model list cannot be read, the name is returned unchanged and Ollama decides.

        Raises:
            InvalidRequestError: if it is not a valid model name.
        """
        try:
            return await self.catalog.find(name)
        except ValueError as error:
            raise InvalidRequestError(f"{name!r} is not {error}.", field="model") from error
        except OllamaError:
            return name

    async def failed_to_load(self, exact_name: str, error: OllamaResponseError) -> bool:
        """Tell whether an error means that the model could not be loaded.

        The messages differ between Ollama versions, but a model that failed to load is never in `/api/ps`. Messages
        known to mean another failure are excluded first. Behind a gateway, the server that failed is asked; if another
        one answers, that tells nothing.
        See https://docs.ollama.com/api/ps.
        """
        wanted = ModelName.parse(exact_name)
        if error.status != LOAD_FAILURE_STATUS or any(message in error.detail for message in NOT_LOAD_FAILURES):
            return False
        if wanted.is_cloud:  # runs remotely, never loaded by this server
            return False
        try:
            running = parse_models(await self.client.get("/api/ps", server=error.server))
        except OllamaError:
            return False
        return not running.skipped and wanted not in map(ModelName.parse, running.models)

    def unknown(self, name: str) -> ModelNotFoundError:
        """Return the error for a model that is not installed."""
        detail = f"The model {name!r} is not installed. `ollama pull {name}` installs it."
        return ModelNotFoundError(detail, available=self.catalog.names)

    async def _tags(self) -> Any:
        response = await self.client.get("/api/tags")
        self.breaker.succeeded()
        return response

    async def _ps(self) -> Any:
        return await self.client.get("/api/ps")

    async def _probe(self) -> Health:
        """Get the version: https://docs.ollama.com/api-reference/get-version."""
        started_at = time.monotonic()
        try:
            response = await self.client.get("/api/version")
            if not isinstance(response, dict) or not isinstance(response.get("version"), str):
                detail = "The server at this address is not Ollama."
                raise OllamaResponseError(detail)
        except OllamaError as error:
            level = logging.DEBUG if self._probe_failed else logging.WARNING
            logger.log(level, "the health probe of Ollama failed: %s", error.log_message)
            self._probe_failed = True
            raise
        if self._probe_failed:
            logger.info("the health probe of Ollama succeeds again")
        self._probe_failed = False
        self.breaker.succeeded()
        found = VERSION.match(response["version"])
        self._version = (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None
        self._asked_version = True
        return Health(response["version"], round((time.monotonic() - started_at) * 1000, 3))

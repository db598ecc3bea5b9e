"""What one event loop has of the Ollama server: connections, a queue, and what is known of it."""

import logging
import re
import time
from dataclasses import dataclass
from typing import Any

from config import Settings
from services.circuit_breaker import CircuitBreaker
from services.concurrency_limiter import ConcurrencyLimiter
from services.model_catalog import ModelCatalog
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
from services.ollama.model_list import parse_models
from services.ollama.types.model_names import ModelName
from services.single_flight import SingleFlight

logger = logging.getLogger(__name__)

LOAD_FAILURE_STATUS = 500
FIRST_WITH_LLAMA_SERVER = (0, 30)
VERSION = re.compile(r"v?(\d{1,9})\.(\d{1,9})")
NO_LOAD_FAILURE = ("while running the model", "unexpectedly stopped", "invalid format", "in format")

NO_FAILURE_OF_OLLAMA = (
    InvalidRequestError,
    ModelNotFoundError,
    NotFoundError,
    OverloadedError,
    RejectedByOllamaError,
    ShuttingDownError,
)


def client_options(settings: Settings) -> ClientOptions:
    """Return what the client needs of the settings."""
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
    )


@dataclass(frozen=True, slots=True)
class Health:
    """What a probe of Ollama found; `latency_ms` is the round trip of its version call."""

    version: str
    latency_ms: float


class Outcomes:
    """The last success and the last failure of Ollama in generation requests; Unix times in seconds.

    A client that leaves, a error_from_response of our own, and a request that Ollama rightly refuses count as neither.
    """

    def __init__(self) -> None:
        self.last_success: float | None = None
        self.last_failure: float | None = None
        self.last_failure_code: str | None = None

    def succeeded(self) -> None:
        """Note that an answer is whole."""
        self.last_success = time.time()

    def failed(self, error: OllamaError) -> None:
        """Note how a request ended that was sent to Ollama."""
        if not isinstance(error, NO_FAILURE_OF_OLLAMA):
            self.last_failure = time.time()
            self.last_failure_code = error.code


class Upstream:
    """The Ollama server as one event loop sees it."""

    def __init__(self, settings: Settings, client: OllamaClient) -> None:
        self.client = client
        self.limiter = ConcurrencyLimiter(
            places=settings.ollama_max_connections,
            queue_size=settings.ollama_queue_size,
            queue_timeout_seconds=settings.ollama_queue_timeout,
        )
        self.breaker = CircuitBreaker(cooldown_seconds=settings.ollama_down_cooldown)
        self.catalog = ModelCatalog(self._tags, ttl_seconds=settings.ollama_models_ttl)
        self.health = SingleFlight(self._probe)
        self._version: tuple[int, int] | None = None
        self.outcomes = Outcomes()
        self._probe_failed = False

    @property
    def runs_llama_server(self) -> bool | None:
        """Whether this is Ollama 0.30 or newer, whose models run in llama-server; None if that is not known.

        Builds from source call themselves 0.0.0, but their model lists differ.
        """
        if self._version is not None and self._version > (0, 0):
            return self._version >= FIRST_WITH_LLAMA_SERVER
        return self.catalog.has_capabilities

    async def close(self) -> None:
        """End the calls that run for nobody in particular."""
        await self.health.cancel()
        await self.catalog.refresh.cancel()

    async def exact_name(self, name: str) -> str | None:
        """Return the name of an installed model as Ollama has it, or None if it is not installed.

        Without a list the name stays as it is: Ollama itself shall decide.

        Raises:
            InvalidRequestError: if it is no model name.
        """
        try:
            return await self.catalog.find(name)
        except ValueError as error:
            raise InvalidRequestError(f"{name!r} is not {error}.", field="model") from error
        except OllamaError:
            return name

    async def failed_to_load(self, exact_name: str, error: OllamaResponseError) -> bool:
        """Tell whether an error means that the model could not be loaded.

        Ollama's words for it change with its versions; that the model is not among the running ones does not. Words
        that are known to mean something else are heeded.
        See https://docs.ollama.com/api/ps.
        """
        wanted = ModelName.parse(exact_name)
        if error.status != LOAD_FAILURE_STATUS or any(words in error.detail for words in NO_LOAD_FAILURE):
            return False
        if wanted.is_cloud:  # it runs elsewhere, and is never loaded here
            return False
        try:
            running = parse_models(await self.client.get("/api/ps"))
        except OllamaError:
            return False
        return not running.skipped and wanted not in map(ModelName.parse, running.models)

    def unknown(self, name: str) -> ModelNotFoundError:
        """Return the error for a model that is not installed."""
        detail = f"The model {name!r} is not installed. `ollama pull {name}` installs it."
        return ModelNotFoundError(detail, available=self.catalog.names)

    async def _tags(self) -> Any:
        answer = await self.client.get("/api/tags")
        self.breaker.succeeded()
        return answer

    async def _probe(self) -> Health:
        """Ask for the version: https://docs.ollama.com/api/version."""
        started_at = time.monotonic()
        try:
            answer = await self.client.get("/api/version")
            if not isinstance(answer, dict) or not isinstance(answer.get("version"), str):
                detail = "What answers there is not Ollama."
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
        found = VERSION.match(answer["version"])
        self._version = (int(found[1]), int(found[2])) if found else None
        return Health(answer["version"], round((time.monotonic() - started_at) * 1000, 3))

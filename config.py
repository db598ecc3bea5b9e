"""Settings from environment variables and `.env` files, read once and immutable.

Over 300 lines, as all settings are fields of one class, each with its description.
"""

import os
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from configuration.addresses import (
    check_origin,
    check_proxies,
    has_credentials,
    normalize_base_url,
    normalize_host_name,
    normalize_http_url,
    normalize_listen_host,
    normalize_weaviate_url,
)
from configuration.dotenv_file import DotenvError, DotenvSource, unknown_names
from configuration.setting_errors import setting_error
from configuration.values import check_api_key, check_header_name, ignore_case, split_commas
from services.ollama.types.durations import KeepAlive
from services.ollama.types.embedding_prefixes import parse_prefixes
from services.ollama.types.model_names import ModelName

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # prometheus-client's own
MISSPELT_API_KEYS = ("API_KEY", "APIKEY", "APIKEYS")
ENV_FILE_VARIABLE = "SERVICE_ENV_FILE"


def env_files() -> tuple[Path, ...]:
    """Return the paths of the `.env` files to read: next to this file, then in the working directory.

    Values of the later file win. If the variable SERVICE_ENV_FILE is set, only the file it names is read, which
    must exist.
    """
    if replacement := os.environ.get(ENV_FILE_VARIABLE):
        return (Path(replacement),)
    project_file = Path(__file__).resolve().with_name(".env")
    try:
        directory = Path.cwd()
        if directory.samefile(project_file.parent) or not os.access(directory, os.X_OK):
            return (project_file,)
    except OSError:  # the working directory was deleted or is not accessible
        return (project_file,)
    return (project_file, directory / ".env")


BaseUrl = Annotated[str, AfterValidator(normalize_base_url)]
WeaviateUrl = Annotated[str, AfterValidator(normalize_weaviate_url)]
HttpUrl = Annotated[str, AfterValidator(normalize_http_url)]
Model = Annotated[str, AfterValidator(lambda name: ModelName.parse(name) and name.strip())]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
ApiKey = Annotated[SecretStr, AfterValidator(check_api_key)]
Origin = Annotated[str, AfterValidator(check_origin)]
HostName = Annotated[str, AfterValidator(normalize_host_name)]
HeaderName = Annotated[str, AfterValidator(check_header_name)]
ListenHost = Annotated[str, AfterValidator(normalize_listen_host)]
CommaSeparated = (NoDecode, BeforeValidator(split_commas))
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LogFormat = Literal["text", "json"]


class Settings(BaseSettings):
    """All settings; the environment variable of each is its name in upper case."""

    model_config = SettingsConfigDict(
        env_file=(),  # `DotenvSource` reads `env_files()` instead
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    ollama_base_url: BaseUrl = Field(
        default="http://127.0.0.1:11434", description="URL of the Ollama server.", validate_default=True
    )
    ollama_api_key: SecretStr | None = Field(
        default=None, description="API key sent to Ollama as `Authorization: Bearer`."
    )
    default_model: Model = Field(default="gpt-oss", description="Fast model; also the fallback for missing models.")
    quality_model: Model = Field(default="llama3.1", description="Quality model for content writing.")
    embedding_model: Model = Field(default="nomic-embed-text", description="Embedding model.")
    embedding_prefixes: Annotated[dict[str, dict[str, str]] | None, NoDecode, BeforeValidator(parse_prefixes)] = Field(
        default=None,
        description="Additional prefixes for `input_type`, as JSON: model to input type to prefix.",
    )

    max_tokens: Count = Field(default=4096, description="Default for `max_tokens` (`num_predict` in Ollama).")
    temperature: float = Field(default=0.7, ge=0, le=2, description="Default for `temperature`, 0 to 2.")
    top_p: float = Field(default=0.9, ge=0, le=1, description="Default for `top_p`, 0 to 1.")
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2, description="Default for `frequency_penalty`, -2 to 2.")
    presence_penalty: float = Field(default=0.0, ge=-2, le=2, description="Default for `presence_penalty`, -2 to 2.")
    ollama_num_ctx: Count | None = Field(
        default=None,
        description="Context length in tokens, sent with every request; a changed value reloads the model.",
    )
    truncate_prompts: bool | None = Field(
        default=None,
        description="Default for `truncate`; false rejects prompts that are longer than the context.",
    )
    shift_context: bool | None = Field(
        default=None,
        description="Default for `shift`; false ends a response when the context is full.",
    )
    ollama_keep_alive: KeepAlive | None = Field(
        default=None,
        description="How long a model stays loaded after a request: seconds, or a duration such as `5m`; -1 for ever.",
    )

    ollama_max_connections: Count = Field(default=10, description="Maximum concurrent requests to Ollama.")
    ollama_queue_size: int = Field(default=100, ge=0, description="Maximum queued requests; further ones get 503.")
    ollama_queue_timeout: Seconds = Field(default=30, description="Maximum seconds a request waits in the queue.")
    ollama_connect_timeout: Seconds = Field(default=5, description="Maximum seconds to connect to Ollama.")
    ollama_request_timeout: Seconds = Field(
        default=300, description="Maximum seconds for a complete response; for a stream, until its first chunk."
    )
    ollama_stream_idle_timeout: Seconds = Field(
        default=60, description="Maximum seconds between two chunks of a stream."
    )
    ollama_health_timeout: Seconds = Field(default=5, description="Total seconds for a health check or a model list.")
    ollama_retry_attempts: Count = Field(default=3, description="Maximum attempts per request, the first included.")
    ollama_retry_backoff: Seconds = Field(
        default=0.5, description="Base of the exponential backoff with jitter, in seconds."
    )
    ollama_down_cooldown: Seconds = Field(
        default=5,
        description="Seconds for which requests fail at once after Ollama was unreachable.",
    )
    ollama_stuck_after: Seconds = Field(
        default=20,
        description="Seconds after which a loaded model that does not begin to respond, after a request to it was "
        "cut off, counts as stuck.",
    )
    ollama_heal_stuck: bool = Field(
        default=True, description="Unload a stuck model, and send the requests that wait for it again."
    )
    ollama_models_ttl: Seconds = Field(default=300, description="Seconds until the cached model list is refreshed.")
    upstream_model_header: HeaderName | None = Field(
        default=None,
        description="Request header that names the model to a gateway in front of several Ollama servers.",
    )
    readiness_requires_ollama: bool = Field(
        default=True, description="Whether `/health/ready` is 503 while Ollama does not respond."
    )

    weaviate_url: WeaviateUrl | None = Field(
        default=None, description="Base URL of a Weaviate whose readiness `/health` reports."
    )
    weaviate_health_timeout: Seconds = Field(
        default=2, description="Maximum seconds for Weaviate's readiness, at most OLLAMA_HEALTH_TIMEOUT."
    )
    crewai_health_url: HttpUrl | None = Field(
        default=None,
        description="URL that responds 200 if the CrewAI agents are ready; `/health` reports them as `crewai_agents`.",
    )

    sse_ping_interval: Seconds = Field(
        default=15, description="Send a heartbeat comment in an SSE stream after this many seconds without data."
    )
    client_write_timeout: Seconds = Field(
        default=60,
        description="Drop a client that has read nothing for this many seconds.",
    )
    shutdown_grace: float = Field(
        default=20, ge=0, allow_inf_nan=False, description="Seconds that open requests get to finish during shutdown."
    )
    shutdown_delay: float = Field(
        default=5,
        ge=0,
        allow_inf_nan=False,
        description="Seconds after SIGTERM during which requests are still accepted, while readiness is already 503.",
    )
    max_request_bytes: Count = Field(default=20_971_520, description="Maximum bytes of a request body; more gets 413.")
    max_body_bytes_in_flight: Count = Field(
        default=83_886_080, description="Maximum total bytes of the bodies of all open requests."
    )
    request_body_timeout: Seconds = Field(default=60, description="Maximum seconds for a request body to arrive.")
    api_keys: Annotated[tuple[ApiKey, ...], *CommaSeparated] = Field(
        default=(),
        description="Comma-separated API keys; if set, every request needs one, except to health checks and pages.",
    )
    cors_origins: Annotated[tuple[Origin, ...], *CommaSeparated] = Field(
        default=(), description="Comma-separated origins that browsers may call from; if empty, no CORS headers."
    )
    allowed_hosts: Annotated[tuple[HostName, ...], *CommaSeparated] = Field(
        default=(),
        description="Comma-separated host names allowed in `Host`, `*` for any. If empty: any, but only local names "
        "if HOST is a loopback address and there are no API_KEYS.",
    )

    openai_api_enabled: bool = Field(default=True, description="Serve OpenAI's API under `/v1`.")
    ollama_api_enabled: bool = Field(
        default=True, description="Serve Ollama's own API under `/api`, for Ollama's clients."
    )
    metrics_enabled: bool = Field(default=True, description="Serve `/metrics` for Prometheus, without an API key.")
    docs_enabled: bool = Field(default=True, description="Serve `/docs`, `/redoc` and `/openapi.json`.")
    playground_enabled: bool = Field(default=True, description="Serve `/playground`.")

    build_commit: str | None = Field(default=None, description="Commit that was built, shown by `/version`.")
    host: ListenHost = Field(default="127.0.0.1", description="Address to listen on.")
    forwarded_allow_ips: Annotated[str, AfterValidator(check_proxies)] = Field(
        default="127.0.0.1,::1",
        description="Proxies trusted for `X-Forwarded-For`: comma-separated IP addresses and networks, or `*`.",
    )
    port: int = Field(default=8000, ge=1, le=65535, description="Port to listen on.")
    web_concurrency: Count = Field(default=1, description="Worker processes; each has its own pool and queue.")
    log_level: Annotated[LogLevel, BeforeValidator(ignore_case(*get_args(LogLevel)))] = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR."
    )
    log_format: Annotated[LogFormat, BeforeValidator(ignore_case(*get_args(LogFormat)))] = Field(
        default="text", description="`text`, or `json` for one object per line."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Replace the `.env` source by one that rejects lines it cannot parse; pydantic-settings skips them."""
        assert isinstance(env_settings, EnvSettingsSource)  # noqa: S101 - pydantic-settings creates it
        given: str | Path | Sequence[str | Path] | None = getattr(dotenv_settings, "env_file", None)
        if given == ():
            paths, named_by = env_files(), ENV_FILE_VARIABLE if os.environ.get(ENV_FILE_VARIABLE) else None
        else:
            paths, named_by = tuple(map(Path, (given,) if isinstance(given, str | Path) else given or ())), None
        dotenv = DotenvSource(settings_cls, paths, env_settings.env_vars, named_by)
        return init_settings, env_settings, dotenv, file_secret_settings

    @field_validator("ollama_api_key")
    @classmethod
    def _check_ollama_api_key(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """Reject a key that cannot be sent, or that would compete with credentials in the URL for `Authorization`."""
        if key is not None and has_credentials(info.data.get("ollama_base_url", "")):
            msg = "no value, as OLLAMA_BASE_URL has a user or password"
            raise ValueError(msg)
        value = key.get_secret_value() if key else ""
        if not (value.isascii() and value.isprintable()):
            msg = "printable ASCII characters"
            raise ValueError(msg)
        return key

    @field_validator("weaviate_health_timeout")
    @classmethod
    def _within_health(cls, seconds: float, info: ValidationInfo) -> float:
        """Reject a timeout that cannot expire before that of `/health`; a default that is too long is capped."""
        limit = info.data.get("ollama_health_timeout", seconds)
        is_default = seconds == cls.model_fields["weaviate_health_timeout"].default
        if info.data.get("weaviate_url") and seconds > limit and not is_default:
            msg = "at most OLLAMA_HEALTH_TIMEOUT"
            raise ValueError(msg)
        return seconds

    @field_validator("max_body_bytes_in_flight")
    @classmethod
    def _check_max_body_bytes_in_flight(cls, size: int, info: ValidationInfo) -> int:
        """Reject a total that is smaller than a single body may be."""
        if size < info.data.get("max_request_bytes", 0):
            msg = "at least MAX_REQUEST_BYTES"
            raise ValueError(msg)
        return size


def multiprocess_directory() -> Path | None:
    """Return the directory in which several server processes share their metrics, or None if there is one process."""
    named = os.environ.get(MULTIPROCESS_VARIABLE)
    return Path(named) if named else None


@cache
def get_settings() -> Settings:
    """Return the settings of the process, reading them on the first call.

    Raises:
        SystemExit: with one line that names each invalid variable, its value and what is expected.
    """
    try:
        return Settings()
    except DotenvError as error:
        raise SystemExit(str(error)) from None
    except ValidationError as error:
        raise SystemExit(
            " | ".join(setting_error(Settings.model_fields[str(item["loc"][0])], item) for item in error.errors())
        ) from None


def unknown_settings(files: Iterable[Path]) -> list[str]:
    """Return warnings about variables that are not settings: all in files, in the environment names like API_KEYS."""
    warnings = [warning for path in files for warning in unknown_names(path, Settings.model_fields)]
    if not get_settings().api_keys:
        misspelt = [name for name in MISSPELT_API_KEYS if os.environ.get(name)]
        warnings += [f"{name} is set but is not a setting; did you mean API_KEYS?" for name in misspelt]
    return warnings


def __getattr__(name: str) -> Settings:
    """Support `from config import settings`: the settings of the process, read on first access."""
    if name != "settings":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return get_settings()

"""The settings: environment variables and `.env`, read once and frozen."""

import os
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

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
    normalize_listen_host,
)
from configuration.dotenv_file import DotenvError, DotenvSource, misspelt_names
from configuration.values import check_api_key, lower_case, split_commas, upper_case
from services.ollama.types.durations import KeepAlive
from services.ollama.types.model_names import ModelName

MAX_SHOWN_LENGTH = 200
MISSPELT_API_KEYS = ("API_KEY", "APIKEY", "APIKEYS")


def env_files() -> tuple[Path, ...]:
    """Return where `.env` is looked for: beside this file and in the working directory, whose values win.

    The variable SERVICE_ENV_FILE names another file in place of both.
    """
    if named := os.environ.get("SERVICE_ENV_FILE"):
        return (Path(named),)
    beside = Path(__file__).resolve().with_name(".env")
    try:
        here = Path.cwd() / ".env"
        if here.parent.samefile(beside.parent) or not os.access(here.parent, os.X_OK):
            return (beside,)
    except OSError:  # the working directory is gone, or out of reach
        return (beside,)
    return (beside, here)


BaseUrl = Annotated[str, AfterValidator(normalize_base_url)]
Model = Annotated[str, AfterValidator(lambda name: ModelName.parse(name) and name.strip())]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
ApiKey = Annotated[SecretStr, AfterValidator(check_api_key)]
Origin = Annotated[str, AfterValidator(check_origin)]
HostName = Annotated[str, AfterValidator(normalize_host_name)]
ListenHost = Annotated[str, AfterValidator(normalize_listen_host)]
CommaSeparated = (NoDecode, BeforeValidator(split_commas))


class Settings(BaseSettings):
    """Everything that can be set, by its name in upper case."""

    model_config = SettingsConfigDict(
        env_file=(),  # those of `env_files()`, read by `DotenvSource`
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    ollama_base_url: BaseUrl = Field(
        default="http://127.0.0.1:11434", description="The Ollama server.", validate_default=True
    )
    ollama_api_key: SecretStr | None = Field(
        default=None, description="Secret sent to Ollama as `Authorization: Bearer`."
    )
    default_model: Model = Field(default="gpt-oss", description="Fast model; also what missing models fall back to.")
    quality_model: Model = Field(default="llama3.1", description="Quality model for content writing.")
    embedding_model: Model = Field(default="nomic-embed-text", description="Model for embeddings.")

    max_tokens: Count = Field(default=4096, description="`num_predict` when a request names none.")
    temperature: float = Field(default=0.7, ge=0, le=2, description="When a request names none, 0 to 2.")
    top_p: float = Field(default=0.9, ge=0, le=1, description="When a request names none, 0 to 1.")
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2, description="When a request names none, -2 to 2.")
    presence_penalty: float = Field(default=0.0, ge=-2, le=2, description="When a request names none, -2 to 2.")
    ollama_num_ctx: Count | None = Field(
        default=None,
        description="Context length in tokens of every request; one value, for a change reloads the model.",
    )
    ollama_keep_alive: KeepAlive | None = Field(
        default=None,
        description="How long a model stays loaded: seconds, or text such as `5m`; -1 is for ever.",
    )

    ollama_max_connections: Count = Field(default=10, description="Requests running in Ollama at once.")
    ollama_queue_size: int = Field(default=100, ge=0, description="Requests that may wait for a place.")
    ollama_queue_timeout: Seconds = Field(default=30, description="Seconds a request may wait for a place.")
    ollama_connect_timeout: Seconds = Field(default=5, description="Seconds to open a connection.")
    ollama_request_timeout: Seconds = Field(
        default=300, description="Seconds for a whole answer; for a stream, until its first chunk."
    )
    ollama_stream_idle_timeout: Seconds = Field(
        default=60, description="Seconds of silence between two chunks of a stream."
    )
    ollama_health_timeout: Seconds = Field(default=5, description="Seconds for a health or model-list call, all in.")
    ollama_retry_attempts: Count = Field(default=3, description="Attempts in all.")
    ollama_retry_backoff: Seconds = Field(
        default=0.5, description="Seconds, base of the exponential backoff with jitter."
    )
    ollama_down_cooldown: Seconds = Field(
        default=5,
        description="Seconds for which requests are refused at once after Ollama was found unreachable.",
    )
    ollama_stuck_after: Seconds = Field(
        default=20,
        description="Seconds after which a loaded model that does not begin to answer, after a request to it was "
        "cut off, counts as stuck.",
    )
    ollama_heal_stuck: bool = Field(default=True, description="Unload a stuck model, and send what waits for it again.")
    ollama_models_ttl: Seconds = Field(default=300, description="Age in seconds at which the model list is refreshed.")

    sse_ping_interval: Seconds = Field(
        default=15, description="Seconds of silence after which an SSE stream gets a heartbeat comment."
    )
    client_write_timeout: Seconds = Field(
        default=60,
        description="Seconds without room to write after which a client that does not read is dropped.",
    )
    shutdown_grace: float = Field(
        default=20, ge=0, allow_inf_nan=False, description="Seconds that open requests may go on for after SIGTERM."
    )
    shutdown_delay: float = Field(
        default=5,
        ge=0,
        allow_inf_nan=False,
        description="Seconds after SIGTERM for which requests are still taken, while readiness is 503 already.",
    )
    max_request_bytes: Count = Field(default=20_971_520, description="Larger request bodies get 413.")
    max_body_bytes_in_flight: Count = Field(
        default=83_886_080, description="Bytes that the bodies of all open requests may take together."
    )
    request_body_timeout: Seconds = Field(default=60, description="Seconds for a request body to arrive.")
    api_keys: Annotated[tuple[ApiKey, ...], *CommaSeparated] = Field(
        default=(),
        description="Comma-separated secrets; when set, every call but the probes and pages needs one.",
    )
    cors_origins: Annotated[tuple[Origin, ...], *CommaSeparated] = Field(
        default=(), description="Comma-separated origins; empty means no CORS headers."
    )
    allowed_hosts: Annotated[tuple[HostName, ...], *CommaSeparated] = Field(
        default=(),
        description="Comma-separated names that `Host` may have, `*` for any; empty: any, but only local names "
        "at a loopback HOST without API_KEYS.",
    )

    openai_api_enabled: bool = Field(default=True, description="Serve OpenAI's API under `/v1`.")
    ollama_api_enabled: bool = Field(
        default=True, description="Serve Ollama's own API under `/api`, for Ollama's clients."
    )
    docs_enabled: bool = Field(default=True, description="Serve `/docs`, `/redoc` and `/openapi.json`.")
    playground_enabled: bool = Field(default=True, description="Serve `/playground`.")

    host: ListenHost = Field(default="127.0.0.1", description="Address to listen on.")
    forwarded_allow_ips: Annotated[str, AfterValidator(check_proxies)] = Field(
        default="127.0.0.1,::1",
        description="Proxies whose `X-Forwarded-For` is believed: addresses or networks with commas between, or `*`.",
    )
    port: int = Field(default=8000, ge=1, le=65535, description="Port to listen on.")
    web_concurrency: Count = Field(default=1, description="Processes that serve; each has its own pool and queue.")
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(upper_case)] = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR."
    )
    log_format: Annotated[Literal["text", "json"], BeforeValidator(lower_case)] = Field(
        default="text", description="`text`, or `json`: one object a line."
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
        """Read `.env` files with a reader that skips no line."""
        assert isinstance(env_settings, EnvSettingsSource)  # noqa: S101 - pydantic-settings makes it
        given: str | Path | Sequence[str | Path] | None = getattr(dotenv_settings, "env_file", None)
        if given == ():
            paths = env_files()
        else:
            paths = tuple(map(Path, (given,) if isinstance(given, str | Path) else given or ()))
        dotenv = DotenvSource(settings_cls, paths, env_settings.env_vars)
        return init_settings, env_settings, dotenv, file_secret_settings

    @field_validator("ollama_api_key")
    @classmethod
    def _one_authorization(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """Refuse what does not fit into the one header for it."""
        if key is not None and has_credentials(info.data.get("ollama_base_url", "")):
            msg = "no value beside a password in OLLAMA_BASE_URL"
            raise ValueError(msg)
        value = key.get_secret_value() if key else ""
        if not (value.isascii() and value.isprintable()):
            msg = "printable ASCII"
            raise ValueError(msg)
        return key

    @field_validator("max_body_bytes_in_flight")
    @classmethod
    def _room_for_one(cls, size: int, info: ValidationInfo) -> int:
        """Refuse what a single body would not fit into."""
        if size < info.data.get("max_request_bytes", 0):
            msg = "at least MAX_REQUEST_BYTES"
            raise ValueError(msg)
        return size


@cache
def get_settings() -> Settings:
    """Return the settings of this process.

    Raises:
        SystemExit: with one line that names each bad variable, what it got and what it takes.
    """
    try:
        return Settings()
    except DotenvError as error:
        raise SystemExit(str(error)) from None
    except ValidationError as error:
        raise SystemExit(
            " | ".join(_complaint(line["loc"], line["msg"], line["input"]) for line in error.errors())
        ) from None


def misspelt_settings(files: Iterable[Path]) -> list[str]:
    """Return a sentence for each variable that looks like a setting and is none; of the environment, only API keys."""
    sentences = [sentence for path in files for sentence in misspelt_names(path, Settings.model_fields)]
    if not get_settings().api_keys:
        given = [name for name in MISSPELT_API_KEYS if os.environ.get(name)]
        sentences += [f"{name} is set, which is no setting of the service; API_KEYS is" for name in given]
    return sentences


def _complaint(loc: tuple[int | str, ...], message: str, got: object) -> str:
    name = str(loc[0])
    field = Settings.model_fields[name]
    shown = "a secret" if "SecretStr" in str(field.annotation) else repr(_without_credentials(got))[:MAX_SHOWN_LENGTH]
    takes = message.removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{name.upper()} got {shown}, takes {takes}. {field.description}"


def _without_credentials(value: object) -> object:
    """Cut what may be a user and a password off a value, whatever signs they have."""
    return value.rpartition("@")[2] if isinstance(value, str) else value


def __getattr__(name: str) -> Settings:
    """Return the settings of this process for `from config import settings`, read when first asked for."""
    if name != "settings":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return get_settings()

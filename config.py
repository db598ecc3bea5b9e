"""The settings: environment variables and `.env`, read once and frozen."""

import re
from functools import cache
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from services.keep_alive import KeepAlive
from services.model_names import ModelName

OLLAMA_PORT = 11434


def normalize_base_url(text: str) -> str:
    """Return the address of an Ollama server as a client can use it.

    A missing scheme becomes `http`, a missing port of an `http` address 11434; wildcard hosts become loopback;
    a trailing `/` and `/api` are cut.

    Raises:
        ValueError: if it is no http(s) address.
    """
    address = text.strip()
    msg = "an address such as http://127.0.0.1:11434"
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        port = parts.port or (443 if parts.scheme == "https" else OLLAMA_PORT)
    except ValueError:
        raise ValueError(msg) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(msg)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(parts.hostname, parts.hostname)  # noqa: S104 - replaced here
    host = f"[{host}]" if ":" in host else host
    credentials = parts.netloc.rpartition("@")[0]
    try:
        unquote(credentials).encode("latin-1")  # as which they are sent
    except UnicodeEncodeError:
        raise ValueError(msg) from None
    netloc = f"{credentials}@{host}:{port}" if credentials else f"{host}:{port}"
    path = parts.path.rstrip("/").removesuffix("/api").rstrip("/")
    return urlunsplit((parts.scheme, netloc, path, "", ""))


def split_commas(value: object) -> object:
    """Turn `a, b` into a list; leave anything but text as it is."""
    if not isinstance(value, str):
        return value
    parts = [part.strip() for part in value.split(",") if part.strip()]
    if not parts:
        msg = "at least one value, or nothing at all"
        raise ValueError(msg)
    return parts


BaseUrl = Annotated[str, AfterValidator(normalize_base_url)]
Model = Annotated[str, AfterValidator(lambda name: ModelName.parse(name) and name.strip())]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
CommaSeparated = (NoDecode, BeforeValidator(split_commas))


class Settings(BaseSettings):
    """Everything that can be set, by its name in upper case."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
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
    ollama_models_ttl: Seconds = Field(default=300, description="Age in seconds at which the model list is refreshed.")

    sse_ping_interval: Seconds = Field(
        default=15, description="Seconds of silence after which an SSE stream gets a heartbeat comment."
    )
    client_write_timeout: Seconds = Field(
        default=60,
        description="Seconds without room to write after which a client that does not read is dropped.",
    )
    shutdown_grace: float = Field(
        default=20, ge=0, description="Seconds that open requests may go on for after SIGTERM."
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
    api_keys: Annotated[tuple[SecretStr, ...], *CommaSeparated] = Field(
        default=(),
        description="Comma-separated secrets; when set, every call but the probes and pages needs one.",
    )
    cors_origins: Annotated[tuple[str, ...], *CommaSeparated] = Field(
        default=(), description="Comma-separated origins; empty means no CORS headers."
    )

    docs_enabled: bool = Field(default=True, description="Serve `/docs`, `/redoc` and `/openapi.json`.")
    playground_enabled: bool = Field(default=True, description="Serve `/playground`.")

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=1, le=65535, description="Port to listen on.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR."
    )
    log_format: Literal["text", "json"] = Field(default="text", description="`text`, or `json`: one object a line.")

    @field_validator("ollama_api_key")
    @classmethod
    def _one_authorization(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """Refuse what does not fit into the one header for it."""
        if key is not None and "@" in info.data.get("ollama_base_url", ""):
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
    except ValidationError as error:
        raise SystemExit(
            " | ".join(_complaint(line["loc"], line["msg"], line["input"]) for line in error.errors())
        ) from None


def _complaint(loc: tuple[int | str, ...], message: str, got: object) -> str:
    name = str(loc[0])
    field = Settings.model_fields[name]
    shown = "a secret" if "SecretStr" in str(field.annotation) else re.sub(r"[^'\"]*@", "", repr(got))
    takes = message.removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{name.upper()} got {shown}, takes {takes}. {field.description}"

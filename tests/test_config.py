"""Settings: defaults, and how values are read."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from config import Settings, get_settings

DEFAULTS: dict[str, Any] = {
    "OLLAMA_BASE_URL": "http://127.0.0.1:11434",
    "OLLAMA_API_KEY": None,
    "DEFAULT_MODEL": "gpt-oss",
    "QUALITY_MODEL": "llama3.1",
    "EMBEDDING_MODEL": "nomic-embed-text",
    "MAX_TOKENS": 4096,
    "TEMPERATURE": 0.7,
    "TOP_P": 0.9,
    "FREQUENCY_PENALTY": 0.0,
    "PRESENCE_PENALTY": 0.0,
    "OLLAMA_NUM_CTX": None,
    "OLLAMA_KEEP_ALIVE": None,
    "OLLAMA_MAX_CONNECTIONS": 10,
    "OLLAMA_QUEUE_SIZE": 100,
    "OLLAMA_QUEUE_TIMEOUT": 30,
    "OLLAMA_CONNECT_TIMEOUT": 5,
    "OLLAMA_REQUEST_TIMEOUT": 300,
    "OLLAMA_STREAM_IDLE_TIMEOUT": 60,
    "OLLAMA_HEALTH_TIMEOUT": 5,
    "OLLAMA_RETRY_ATTEMPTS": 3,
    "OLLAMA_RETRY_BACKOFF": 0.5,
    "OLLAMA_DOWN_COOLDOWN": 5,
    "OLLAMA_MODELS_TTL": 300,
    "UPSTREAM_MODEL_HEADER": None,
    "READINESS_REQUIRES_OLLAMA": True,
    "WEAVIATE_URL": None,
    "WEAVIATE_HEALTH_TIMEOUT": 2,
    "CREWAI_HEALTH_URL": None,
    "SSE_PING_INTERVAL": 15,
    "MAX_REQUEST_BYTES": 20_971_520,
    "API_KEYS": (),
    "CORS_ORIGINS": (),
    "ALLOWED_HOSTS": (),
    "WEB_CONCURRENCY": 1,
    "LOG_LEVEL": "INFO",
    "LOG_FORMAT": "text",
}


@pytest.mark.parametrize(("name", "default"), DEFAULTS.items())
def test_default(name: str, default: object) -> None:
    assert getattr(Settings(), name.lower()) == default


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described(name: str) -> None:
    description = Settings.model_fields[name].description
    assert description
    assert description.endswith(".")


@pytest.mark.parametrize("address", ["http://ollama/p@th", "http://:@ollama"])
def test_an_api_key_and_an_address_without_a_password_are_accepted(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_BASE_URL", address)
    monkeypatch.setenv("OLLAMA_API_KEY", "hush")
    assert get_settings().ollama_api_key == SecretStr("hush")


@pytest.mark.parametrize("address", ["http://user:hush@ollama", "user@ollama", "http://user:hush@ollama/p@th"])
def test_an_api_key_together_with_a_password_is_rejected(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_BASE_URL", address)
    monkeypatch.setenv("OLLAMA_API_KEY", "hush")
    with pytest.raises(
        SystemExit, match="OLLAMA_API_KEY got a secret, expected no value, as OLLAMA_BASE_URL has a user or password"
    ) as caught:
        get_settings()
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("key", ["hush\r\nX-Other: 1", "hushü", "hush\x00"])
def test_an_api_key_that_no_header_can_carry_is_rejected(key: str) -> None:
    with pytest.raises(ValidationError, match="printable ASCII") as caught:
        Settings(_env_file=None, ollama_api_key=SecretStr(key))
    assert "hush" not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    settings = Settings(ollama_api_key=SecretStr("hush"), api_keys=(SecretStr("quiet"),))
    assert "hush" not in repr(settings)
    assert "quiet" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "keys"), [("one", ["one"]), ("one,two", ["one", "two"]), (" one , two ,", ["one", "two"])]
)
def test_lists_are_comma_separated(text: str, keys: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEYS", text)
    monkeypatch.setenv("ALLOWED_HOSTS", text)
    settings = Settings()
    assert [key.get_secret_value() for key in settings.api_keys] == keys
    assert list(settings.allowed_hosts) == keys


@pytest.mark.parametrize(
    "text",
    ['"hush1","hush2"', "'hush'", '["hush1","hush2"]', "\u201chush\u201d", "hush hush", "hush\thush", "hush\u200bhush"],
)
def test_api_keys_with_quotes_brackets_or_spaces_are_rejected(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEYS", text)
    with pytest.raises(SystemExit, match=r"^API_KEYS got a secret, expected keys ") as caught:
        get_settings()
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("LOG_LEVEL", "info", "INFO"),
        ("LOG_LEVEL", "Debug\r", "DEBUG"),
        ("LOG_FORMAT", "JSON", "json"),
        ("DOCS_ENABLED", "off", False),
        ("DOCS_ENABLED", "1", True),
        ("MAX_TOKENS", "1_000", 1000),
    ],
)
def test_values_are_parsed_leniently(name: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, text)
    assert getattr(Settings(), name.lower()) == value


@pytest.mark.parametrize("name", ["API_KEYS", "CORS_ORIGINS"])
def test_a_list_of_empty_items_is_rejected(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, " , ")
    with pytest.raises(ValidationError, match="at least one value"):
        Settings()


@pytest.mark.parametrize(("text", "value"), [("5m", "5m"), ("-1", -1), ("0", 0), ("1.5", 1.5), ("300", 300)])
def test_keep_alive_accepts_numbers_and_durations(text: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_KEEP_ALIVE", text)
    assert Settings().ollama_keep_alive == value


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DEFAULTS:
        monkeypatch.setenv(name, "")
    assert Settings() == Settings(_env_file=None)
    assert Settings().max_tokens == 4096


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / ".env"
    file.write_text("MAX_TOKENS=1\nTOP_P=0.5\nANOTHER_PROGRAMS_SETTING=1\n")
    monkeypatch.setenv("SERVICE_ENV_FILE", str(file))
    monkeypatch.setenv("MAX_TOKENS", "2")
    settings = get_settings()
    assert (settings.max_tokens, settings.top_p) == (2, 0.5)
    assert get_settings() is settings


def test_settings_are_immutable() -> None:
    settings = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.max_tokens = 1  # type: ignore[misc]

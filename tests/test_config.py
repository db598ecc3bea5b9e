import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from config import Settings, get_settings
from configuration.addresses import normalize_base_url

REPOSITORY = Path(__file__).parent.parent

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


@pytest.fixture(autouse=True)
def _fresh_settings() -> None:
    get_settings.cache_clear()


@pytest.mark.parametrize(("name", "default"), DEFAULTS.items())
def test_default(name: str, default: object) -> None:
    assert getattr(Settings(), name.lower()) == default


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described(name: str) -> None:
    description = Settings.model_fields[name].description
    assert description
    assert description.endswith(".")


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("ollama", "http://ollama:11434"),
        ("ollama:8080", "http://ollama:8080"),
        ("http://ollama", "http://ollama:11434"),
        ("https://ollama.example", "https://ollama.example:443"),
        ("http://0.0.0.0:11434", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("http://[::]:11434", "http://[::1]:11434"),
        ("http://[::1]", "http://[::1]:11434"),
        ("http://ollama:11434/", "http://ollama:11434"),
        ("http://ollama:11434/api", "http://ollama:11434"),
        ("http://ollama:11434/api/", "http://ollama:11434"),
        ("http://proxy:80/ollama/api/", "http://proxy:80/ollama"),
        ("  http://ollama:11434  ", "http://ollama:11434"),
        ("HTTP://Ollama:11434", "http://ollama:11434"),
        ("http://user:word@ollama", "http://user:word@ollama:11434"),
        ("http://user@ollama", "http://user@ollama:11434"),
        ("http://us%40er:wo:rd@ollama", "http://us%40er:wo:rd@ollama:11434"),
        ("http://:@ollama", "http://ollama:11434"),
        ("http://ollama/p@th", "http://ollama:11434/p@th"),
        ("http://ollama:", "http://ollama:11434"),
        ("http://ollama./", "http://ollama.:11434"),
        ("http://my_ollama-1:11434", "http://my_ollama-1:11434"),
        ("http://münchen.example", "http://münchen.example:11434"),
        ("http://[fe80::1%eth0]", "http://[fe80::1%eth0]:11434"),
        ("http://0:11434", "http://127.0.0.1:11434"),
        ("http://[0:0:0:0:0:0:0:0]", "http://[::1]:11434"),
        ("localhost:11434/api/", "http://localhost:11434"),
        ("https://gateway.example/api/ollama", "https://gateway.example:443/api/ollama"),
    ],
)
def test_base_url_is_normalized(given: str, used: str) -> None:
    assert Settings(ollama_base_url=given).ollama_base_url == used
    assert normalize_base_url(used) == used


BAD = [
    ("OLLAMA_BASE_URL", "ftp://ollama"),
    ("OLLAMA_BASE_URL", "http://"),
    ("OLLAMA_BASE_URL", "http://ollama:99999"),
    ("OLLAMA_BASE_URL", "http://ollama:port"),
    ("OLLAMA_BASE_URL", "http://ollama:11434?key=1"),
    ("OLLAMA_BASE_URL", "http://[::1"),
    ("OLLAMA_BASE_URL", "http://ollama:0"),
    ("OLLAMA_BASE_URL", "http://ollama:65536"),
    ("OLLAMA_BASE_URL", "http://ollama:11434#here"),
    ("OLLAMA_BASE_URL", "http://olla ma"),
    ("OLLAMA_BASE_URL", "http://olla\nma"),
    ("OLLAMA_BASE_URL", "http://olla\tma"),
    ("OLLAMA_BASE_URL", "http://one,two"),
    ("OLLAMA_BASE_URL", "http://${HOST}:11434"),
    ("OLLAMA_BASE_URL", "http://<host>"),
    ("OLLAMA_BASE_URL", "http://a..b"),
    ("OLLAMA_BASE_URL", "http://300.1.1.1"),
    ("OLLAMA_BASE_URL", "http:/ollama"),
    ("OLLAMA_BASE_URL", "http://http://ollama"),
    ("OLLAMA_BASE_URL", "https//ollama"),
    ("OLLAMA_BASE_URL", "//ollama"),
    ("OLLAMA_BASE_URL", "tcp://10.0.0.1:11434"),
    ("OLLAMA_BASE_URL", "unix:///run/ollama.sock"),
    ("OLLAMA_BASE_URL", '"http://ollama"'),
    ("OLLAMA_BASE_URL", "http://ollama:11434/v1"),
    ("OLLAMA_BASE_URL", "http://ollama:11434/v1/chat/completions"),
    ("OLLAMA_BASE_URL", "http://ollama:11434/api/generate"),
    ("DEFAULT_MODEL", "no such name!"),
    ("QUALITY_MODEL", "a/b/c/d"),
    ("EMBEDDING_MODEL", "tiny:"),
    ("MAX_TOKENS", "0"),
    ("MAX_TOKENS", "many"),
    ("TEMPERATURE", "2.1"),
    ("TEMPERATURE", "nan"),
    ("TOP_P", "-0.1"),
    ("FREQUENCY_PENALTY", "-3"),
    ("PRESENCE_PENALTY", "3"),
    ("OLLAMA_NUM_CTX", "0"),
    ("OLLAMA_KEEP_ALIVE", "5 parsecs"),
    ("OLLAMA_MAX_CONNECTIONS", "0"),
    ("OLLAMA_QUEUE_SIZE", "-1"),
    ("OLLAMA_QUEUE_TIMEOUT", "0"),
    ("OLLAMA_CONNECT_TIMEOUT", "-1"),
    ("OLLAMA_REQUEST_TIMEOUT", "inf"),
    ("OLLAMA_STREAM_IDLE_TIMEOUT", "nan"),
    ("OLLAMA_HEALTH_TIMEOUT", "soon"),
    ("OLLAMA_RETRY_ATTEMPTS", "0"),
    ("OLLAMA_RETRY_BACKOFF", "0"),
    ("OLLAMA_DOWN_COOLDOWN", "-5"),
    ("OLLAMA_MODELS_TTL", "0"),
    ("WEAVIATE_URL", "ftp://weaviate"),
    ("WEAVIATE_URL", "http://weaviate:8080?x=1"),
    ("WEAVIATE_HEALTH_TIMEOUT", "0"),
    ("CREWAI_HEALTH_URL", "agents:8001/health"),
    ("CREWAI_HEALTH_URL", "ftp://agents/health"),
    ("CREWAI_HEALTH_URL", "http://agents/health#x"),
    ("CREWAI_HEALTH_URL", "http://agents/health?a b"),
    ("CREWAI_HEALTH_URL", "http://agents/health?a#b"),
    ("SSE_PING_INTERVAL", "0"),
    ("UPSTREAM_MODEL_HEADER", "X Model"),
    ("UPSTREAM_MODEL_HEADER", "X-Model:"),
    ("UPSTREAM_MODEL_HEADER", "Content-Length"),
    ("READINESS_REQUIRES_OLLAMA", "perhaps"),
    ("FORWARDED_ALLOW_IPS", "proxy.internal"),
    ("FORWARDED_ALLOW_IPS", "10.0.0.1/8"),
    ("FORWARDED_ALLOW_IPS", "127.0.0.1,*"),
    ("FORWARDED_ALLOW_IPS", "127.0.0.1,,::1"),
    ("CLIENT_WRITE_TIMEOUT", "0"),
    ("SHUTDOWN_GRACE", "-1"),
    ("MAX_REQUEST_BYTES", "0"),
    ("SHUTDOWN_GRACE", "inf"),
    ("SHUTDOWN_GRACE", "nan"),
    ("OLLAMA_REQUEST_TIMEOUT", "5m"),
    ("MAX_TOKENS", "99999999999999999999"),
    ("DOCS_ENABLED", "perhaps"),
    ("PORT", "65536"),
    ("PORT", "0"),
    ("PORT", "tcp://10.0.0.1:8000"),
    ("HOST", "0.0.0.0:8000"),
    ("HOST", "http://0.0.0.0"),
    ("HOST", "[::1]:8000"),
    ("HOST", "[localhost]"),
    ("HOST", "*"),
    ("HOST", "two words"),
    ("HOST", "10.0.0.256"),
    ("HOST", " "),
    ("CORS_ORIGINS", "https://app.example/"),
    ("CORS_ORIGINS", "https://app.example/page"),
    ("CORS_ORIGINS", "app.example"),
    ("CORS_ORIGINS", "localhost:3000"),
    ("CORS_ORIGINS", "https://*.example.com"),
    ("CORS_ORIGINS", "*.example.com"),
    ("CORS_ORIGINS", "null"),
    ("CORS_ORIGINS", "https://App.example"),
    ("CORS_ORIGINS", "HTTPS://app.example"),
    ("CORS_ORIGINS", "https://app.example:443"),
    ("CORS_ORIGINS", "http://app.example:80"),
    ("CORS_ORIGINS", "http://app.example:"),
    ("CORS_ORIGINS", "http://app.example:99999"),
    ("CORS_ORIGINS", "http://münchen.example"),
    ("CORS_ORIGINS", "http://[0:0::1]:3000"),
    ("CORS_ORIGINS", '"https://app.example"'),
    ("CORS_ORIGINS", "https://a.example https://b.example"),
    ("CORS_ORIGINS", "wss://app.example"),
    ("ALLOWED_HOSTS", "https://api.example"),
    ("ALLOWED_HOSTS", "api.example:8000"),
    ("ALLOWED_HOSTS", "api.example/"),
    ("ALLOWED_HOSTS", "api.*"),
    ("ALLOWED_HOSTS", "*example"),
    ("WEB_CONCURRENCY", "0"),
    ("WEB_CONCURRENCY", "auto"),
    ("LOG_LEVEL", "loud"),
    ("LOG_FORMAT", "xml"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_an_invalid_setting_is_reported_in_one_line(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        get_settings()
    message = str(caught.value)
    assert message.startswith(f"{name} got {value!r}, expected ")
    assert "\n" not in message


@pytest.mark.parametrize("port", ["99999", "port"])
def test_message_about_a_bad_port_gives_an_example_address(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_BASE_URL", f"http://ollama:{port}")
    with pytest.raises(SystemExit, match="expected an address such as http://"):
        get_settings()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "abc", "PORT got 'abc', expected a whole number. Port to listen on."),
        ("PORT", "99999", "PORT got '99999', expected at most 65535. Port to listen on."),
        ("TOP_P", "high", "TOP_P got 'high', expected a number. Default for `top_p`, 0 to 1."),
        ("PLAYGROUND_ENABLED", "maybe", "PLAYGROUND_ENABLED got 'maybe', expected true or false. Serve `/playground`."),
        ("LOG_LEVEL", "loud", "LOG_LEVEL got 'loud', expected 'DEBUG', 'INFO', 'WARNING' or 'ERROR'."),
        ("API_KEYS", ",", "API_KEYS got ',', expected at least one value."),
    ],
)
def test_message_names_the_given_value_and_what_is_expected(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        get_settings()
    assert str(caught.value).startswith(message)


def test_all_invalid_settings_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_TOKENS", "0")
    monkeypatch.setenv("LOG_FORMAT", "xml")
    with pytest.raises(SystemExit, match=r"^MAX_TOKENS got '0'.* \| LOG_FORMAT got 'xml'"):
        get_settings()


@pytest.mark.parametrize(
    "address",
    [
        "ftp://user:hush@ollama",
        "http://user:hush%E2%82%AC@ollama",
        "ftp://user:hush'hush@ollama",
        'ftp://user:hush"hush@ollama',
        "ftp://user:hush@hush@ollama",
        "ftp://user:hush\\hush@ollama",
        "http://user:hush#hush@ollama",
        "http://user:hush hush@ollama",
        "http://user:hush\nhush@ollama",
    ],
)
@pytest.mark.parametrize("name", ["OLLAMA_BASE_URL", "CORS_ORIGINS", "HOST", "ALLOWED_HOSTS"])
def test_a_password_in_a_bad_address_is_not_shown(name: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, address)
    with pytest.raises(SystemExit) as caught:
        get_settings()
    assert "hush" not in str(caught.value)
    assert str(caught.value).startswith(f"{name} got 'ollama', expected ")


def test_a_long_value_is_shown_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "x" * 100_000)
    with pytest.raises(SystemExit) as caught:
        get_settings()
    assert len(str(caught.value)) < 1000


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


def test_bad_setting_stops_the_start_with_one_line(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, REPOSITORY / "main.py"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "MAX_TOKENS": "0", "SERVICE_ENV_FILE": os.devnull},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith("MAX_TOKENS got '0', expected at least 1. ")
    assert ended.stderr.count("\n") == 1


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
    "origin",
    [
        "*",
        "https://app.example",
        "http://localhost:3000",
        "https://app.example:8443",
        "http://app.example:443",
        "http://127.0.0.1:3000",
        "http://[::1]:3000",
        "https://xn--mnchen-3ya.example",
        "http://my_app:3000",
        "capacitor://localhost",
        "chrome-extension://abcdefghijklmnop",
    ],
)
def test_origins_that_browsers_send_are_accepted(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", origin)
    assert Settings().cors_origins == (origin,)


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
    ("text", "host"),
    [
        ("localhost", "localhost"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("::", "::"),
        ("0.0.0.0", "0.0.0.0"),
        (" 127.0.0.1 ", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("127.0.0.1\r", "127.0.0.1"),
        ("my_host.example", "my_host.example"),
    ],
)
def test_hosts_to_listen_on_are_validated(text: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", text)
    assert Settings().host == host


@pytest.mark.parametrize(
    ("text", "name"),
    [("API.example.", "api.example"), ("*.Example", "*.example"), ("::1", "[::1]"), ("[::1]", "[::1]"), ("*", "*")],
)
def test_allowed_hosts(text: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", text)
    assert Settings().allowed_hosts == (name,)


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


@pytest.mark.parametrize("text", ["*", "10.0.0.5", " 10.0.0.5 , fd00::/8 ", "10.0.0.0/8,::1"])
def test_trusted_proxies_are_addresses_and_networks(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", text)
    assert Settings().forwarded_allow_ips == text.replace(" ", "")

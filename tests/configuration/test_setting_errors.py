"""Messages about invalid settings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config import get_settings
from tests.service_process import ROOT

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


def test_bad_setting_stops_the_start_with_one_line(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, ROOT / "main.py"],
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

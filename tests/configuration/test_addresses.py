"""URLs, origins, host names and networks."""

import pytest

from config import Settings
from configuration.addresses import normalize_base_url


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


@pytest.mark.parametrize("text", ["*", "10.0.0.5", " 10.0.0.5 , fd00::/8 ", "10.0.0.0/8,::1"])
def test_trusted_proxies_are_addresses_and_networks(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", text)
    assert Settings().forwarded_allow_ips == text.replace(" ", "")

"""Settings of Weaviate and CrewAI: addresses that may be incomplete, and the time that `/health` waits for them."""

from typing import Any

import pytest

from config import Settings


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("weaviate", "http://weaviate:8080"),
        ("http://weaviate", "http://weaviate:8080"),
        ("https://weaviate.example/", "https://weaviate.example:443"),
        ("http://weaviate:8080/v1", "http://weaviate:8080"),
        ("http://0.0.0.0:8080/v1/", "http://127.0.0.1:8080"),
        ("http://weaviate:8080/v1/.well-known/ready", "http://weaviate:8080"),
        ("http://proxy:80/weaviate/v1", "http://proxy:80/weaviate"),
    ],
)
def test_the_address_of_weaviate_is_made_usable(given: str, used: str) -> None:
    assert Settings(weaviate_url=given).weaviate_url == used


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://agents/health", "http://agents:80/health"),
        ("https://agents.example", "https://agents.example:443"),
        (" http://0.0.0.0:8001/health?a=http://b ", "http://127.0.0.1:8001/health?a=http://b"),
    ],
)
def test_the_url_of_the_agents_is_used_as_it_is(given: str, used: str) -> None:
    assert Settings(crewai_health_url=given).crewai_health_url == used


@pytest.mark.parametrize(
    "values",
    [
        {"weaviate_url": "weaviate:8080", "weaviate_health_timeout": 6},
        {"weaviate_url": "weaviate:8080", "weaviate_health_timeout": 1.5, "ollama_health_timeout": 1},
    ],
)
def test_a_time_that_health_never_waits_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at most OLLAMA_HEALTH_TIMEOUT"):
        Settings(**values)
    assert Settings(**(values | {"weaviate_url": None})).weaviate_url is None
    assert Settings(weaviate_url="weaviate", ollama_health_timeout=1).weaviate_health_timeout == 2

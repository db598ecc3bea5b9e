"""Acceptance tests of the in-process and REST API, with the simulator and with a real Ollama."""

from collections.abc import AsyncIterator

import pytest

from config import get_settings
from services.ollama_service import OllamaService, ollama_service
from tests.integration.upstreams import Upstream


@pytest.fixture(autouse=True)
async def _process_in_front_of_the_upstream(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Point the settings of this process, and so the singleton, at the upstream."""
    monkeypatch.setenv("OLLAMA_BASE_URL", upstream.url)
    get_settings.cache_clear()
    yield
    await ollama_service.disconnect()
    get_settings.cache_clear()


def test_the_service_and_the_settings_can_be_imported(upstream: Upstream) -> None:
    from config import settings  # noqa: PLC0415 - read when it is imported, and by then it names the upstream

    assert isinstance(ollama_service, OllamaService)
    assert settings.ollama_base_url == upstream.url


async def test_health_check_is_true() -> None:
    assert await ollama_service.health_check() is True


async def test_list_models_lists_the_installed_models() -> None:
    models = await ollama_service.list_models()
    assert isinstance(models, list)
    assert "gpt-oss" in [model["name"] for model in models]


async def test_generate_answers_with_gpt_oss() -> None:
    response = await ollama_service.generate(model="gpt-oss", prompt="Say hello", max_tokens=100)
    assert isinstance(response, str)
    assert len(response) > 0


async def test_generate_embeddings_gives_768_numbers() -> None:
    embeddings = await ollama_service.generate_embeddings("test text")
    assert isinstance(embeddings, list)
    assert len(embeddings) == 768
    assert all(isinstance(number, float) for number in embeddings)

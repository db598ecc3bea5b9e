"""Health and models."""

import aiohttp
import pytest

from main import create_app
from tests.integration.upstreams import Api, Upstream, settings_for
from tests.serving import serve


async def test_health_has_the_version_and_the_models(service: Api, direct: Api) -> None:
    async with direct.get("/api/version") as response:
        version = (await response.json())["version"]
    async with service.get("/health") as response:
        health = await response.json()
        assert response.status == 200
    assert health["status"] == "healthy"
    assert health["services"] == {"ollama": "up"}
    assert health["ollama"]["version"] == version
    assert health["ollama"]["latency_ms"] > 0
    assert health["ollama"]["models"] == {"gpt-oss": True, "llama3.1": True, "nomic-embed-text": True}
    assert (health["ollama"]["running"], health["ollama"]["queued"]) == (0, 0)


async def test_health_shows_a_configured_model_that_is_missing(
    client: aiohttp.ClientSession, upstream: Upstream
) -> None:
    settings = settings_for(upstream, quality_model="not-installed:70b")
    async with serve(create_app(settings)) as url, client.get(f"{url}/health") as response:
        health = await response.json()
        assert response.status == 200
    assert health["status"] == "healthy"
    assert health["ollama"]["models"]["not-installed:70b"] is False


@pytest.mark.parametrize("path", ["/health/ready", "/health/live"])
async def test_ready_and_live(service: Api, path: str) -> None:
    async with service.get(path) as response:
        assert response.status == 200


async def test_the_models_are_those_of_ollama(service: Api, direct: Api) -> None:
    async with direct.get("/api/tags") as response:
        tags = {item["model"]: item for item in (await response.json())["models"]}
    async with service.get("/api/ollama/models") as response:
        listed = await response.json()
    models = {item["model"]: item for item in listed["models"]}
    assert models.keys() == tags.keys()
    for exact, item in models.items():
        for key in ("size", "modified_at", "digest", "details"):
            assert item[key] == tags[exact][key]
        assert item["name"] == exact.removesuffix(":latest")
        assert item.get("capabilities") == tags[exact].get("capabilities")
    assert {"gpt-oss", "llama3.1", "nomic-embed-text"} <= {item["name"] for item in listed["models"]}


async def test_the_model_list_is_cached_unless_a_refresh_is_forced(service: Api) -> None:
    seen = []
    for query in ("?force_refresh=true", "", "?force_refresh=true"):
        async with service.get(f"/api/ollama/models{query}") as response:
            listed = await response.json()
        assert listed["success"] is True
        assert listed["stale"] is False
        assert 0 <= listed["age_seconds"] < 30
        seen.append(listed["cached"])
    assert seen == [False, True, False]

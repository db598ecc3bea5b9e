import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from services.models import model_catalog
from services.models.model_catalog import ModelCatalog
from services.ollama.errors import OllamaError, OllamaResponseError, OllamaUnavailableError

LONG = 300.0


class Tags:
    """The response of /api/tags, and the number of requests."""

    def __init__(self, *names: str) -> None:
        self.names: Sequence[str] = names
        self.calls = 0
        self.is_down = False

    async def fetch(self) -> Any:
        self.calls += 1
        await asyncio.sleep(0)
        if self.is_down:
            raise OllamaUnavailableError("Ollama could not be reached.")
        return {"models": [{"name": name, "model": name, "size": 1} for name in self.names]}


@pytest.fixture
def tags() -> Tags:
    return Tags("gpt-oss:latest", "Llama3.1:8B")


@pytest.fixture
def catalog(tags: Tags) -> ModelCatalog:
    return ModelCatalog(tags.fetch, ttl_seconds=LONG)


async def test_the_list_is_requested_once_within_its_ttl(catalog: ModelCatalog, tags: Tags) -> None:
    first, second = await catalog.list(), await catalog.list()
    assert (first.cached, second.cached, tags.calls) == (False, True, 1)
    assert first.models == second.models
    assert [model["name"] for model in first.models] == catalog.names == ["gpt-oss", "Llama3.1:8B"]
    assert 0 <= second.age_seconds < 5


async def test_an_old_list_is_refreshed(tags: Tags) -> None:
    catalog = ModelCatalog(tags.fetch, ttl_seconds=0.01)
    await catalog.list()
    await asyncio.sleep(0.02)
    assert (await catalog.list()).cached is False
    assert tags.calls == 2


async def test_concurrent_refreshes_share_one_call(catalog: ModelCatalog, tags: Tags) -> None:
    lists = await asyncio.gather(*(catalog.list(force_refresh=number % 2 == 0) for number in range(20)))
    assert tags.calls == 1
    assert all(found.models == lists[0].models for found in lists)


async def test_a_cancelled_caller_does_not_cancel_the_refresh_of_others(catalog: ModelCatalog, tags: Tags) -> None:
    leaving, staying = asyncio.create_task(catalog.list()), asyncio.create_task(catalog.list())
    await asyncio.sleep(0)
    leaving.cancel()
    assert len((await staying).models) == 2
    assert leaving.cancelled()
    assert tags.calls == 1


async def test_a_failure_is_not_an_empty_list(catalog: ModelCatalog, tags: Tags) -> None:
    tags.is_down = True
    with pytest.raises(OllamaUnavailableError):
        await catalog.list()
    tags.is_down = False
    assert len((await catalog.list()).models) == 2


async def test_after_a_failure_the_last_list_is_returned_as_stale(tags: Tags) -> None:
    catalog = ModelCatalog(tags.fetch, ttl_seconds=0.01)
    await catalog.list()
    await asyncio.sleep(0.02)
    tags.is_down = True
    found = await catalog.list()
    assert (found.stale, found.cached, len(found.models)) == (True, True, 2)
    assert found.age_seconds >= 0.02
    with pytest.raises(OllamaUnavailableError):
        await catalog.list(force_refresh=True)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"models": ["gpt-oss"]},
        {"models": [{}]},
        {"models": [{"name": 5}]},
        {"models": [{"name": "no such name!"}]},
        {"models": {"gpt-oss": {}}},
        "models",
    ],
    ids=str,
)
async def test_an_invalid_response_is_not_a_list(answer: Any) -> None:
    async def fetch() -> Any:
        return answer

    with pytest.raises(OllamaResponseError):
        await ModelCatalog(fetch, ttl_seconds=LONG).list()


async def test_an_item_keeps_the_fields_of_ollama() -> None:
    given = {"size": 5, "modified_at": "2025-01-01T00:00:00Z", "digest": "ab", "details": {"families": None}}

    async def fetch() -> Any:
        return {"models": [given | {"name": "a:latest", "capabilities": ["vision"]}, {"name": "b:1"}]}

    first, second = (await ModelCatalog(fetch, ttl_seconds=LONG).list()).models
    assert first == given | {"name": "a", "model": "a:latest", "capabilities": ["vision"]}
    assert second == dict.fromkeys(given) | {"name": "b:1", "model": "b:1"}


@pytest.mark.parametrize(
    ("asked", "exact"),
    [
        ("gpt-oss", "gpt-oss:latest"),
        ("GPT-OSS", "gpt-oss:latest"),
        ("llama3.1:8b", "Llama3.1:8B"),
        ("gpt-oss:20b", None),
        ("gpt", None),
        ("llama3.1", None),
        ("gpt-oss:120b-cloud", "gpt-oss:120b-cloud"),
    ],
)
async def test_a_name_finds_only_its_own_model(catalog: ModelCatalog, asked: str, exact: str | None) -> None:
    assert await catalog.find(asked) == exact


async def test_known_names_do_not_refresh_the_list(catalog: ModelCatalog, tags: Tags) -> None:
    for _ in range(5):
        await catalog.find("gpt-oss")
    assert tags.calls == 1


async def test_a_model_pulled_later_is_found(catalog: ModelCatalog, tags: Tags) -> None:
    await catalog.list()
    tags.names = ["qwen3:latest"]
    assert await catalog.find("qwen3") == "qwen3:latest"
    assert await catalog.find("gpt-oss") is None
    assert tags.calls == 2


async def test_unknown_names_refresh_the_list_at_a_limited_rate(
    catalog: ModelCatalog, tags: Tags, monkeypatch: pytest.MonkeyPatch
) -> None:
    await catalog.list()
    for number in range(5):
        assert await catalog.find(f"unknown{number}") is None
    assert tags.calls == 2
    monkeypatch.setattr(model_catalog, "MISS_REFRESH_INTERVAL_SECONDS", 0.0)
    assert await catalog.find("unknown") is None
    assert tags.calls == 3


async def test_concurrent_misses_share_one_refresh(catalog: ModelCatalog, tags: Tags) -> None:
    await catalog.list()
    found = await asyncio.gather(*(catalog.find(f"unknown{number}") for number in range(20)))
    assert found == [None] * 20
    assert tags.calls == 2


async def test_an_invalidated_list_is_refreshed(catalog: ModelCatalog, tags: Tags) -> None:
    await catalog.list()
    catalog.invalidate()
    assert (await catalog.list()).cached is False
    assert tags.calls == 2


async def test_an_unknown_name_without_a_list_is_an_error(catalog: ModelCatalog, tags: Tags) -> None:
    tags.is_down = True
    with pytest.raises(OllamaError):
        await catalog.find("gpt-oss")


async def test_a_known_name_is_found_in_a_stale_list(tags: Tags) -> None:
    catalog = ModelCatalog(tags.fetch, ttl_seconds=0.001)
    await catalog.list()
    await asyncio.sleep(0.005)
    tags.is_down = True
    for _ in range(5):
        assert await catalog.find("gpt-oss") == "gpt-oss:latest"
    assert tags.calls == 2


async def test_an_invalid_name_sends_no_request(catalog: ModelCatalog, tags: Tags) -> None:
    with pytest.raises(ValueError, match="a model name such as"):
        await catalog.find("no such name!")
    assert tags.calls == 0


async def test_unknown_names_send_one_request_while_the_list_is_unreadable(catalog: ModelCatalog, tags: Tags) -> None:
    await catalog.list()
    tags.is_down = True
    for _ in range(10):
        with pytest.raises(OllamaUnavailableError):
            await catalog.find("unknown")
    assert tags.calls == 2


async def test_without_a_list_not_every_request_waits_for_a_refresh(catalog: ModelCatalog, tags: Tags) -> None:
    tags.is_down = True
    for _ in range(10):
        with pytest.raises(OllamaUnavailableError):
            await catalog.find("gpt-oss")
    assert tags.calls == 1

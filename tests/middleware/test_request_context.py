"""Request ids, and what the log says of a request."""

import asyncio
import io
import json
import logging
import re

import aiohttp
import pytest

from main import create_app
from tests.api import CHAT, GENERATE, Answer, get, post, problem_in
from tests.conftest import MakeSettings
from tests.serving import serve
from tests.sse import SSE

REQUESTS = "middleware.request_context"


def request_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == REQUESTS]


@pytest.mark.parametrize("given", ["abc", "A-b_9", "x" * 128])
async def test_a_request_id_is_kept(client: aiohttp.ClientSession, url: str, given: str) -> None:
    for path in ("/health/live", "/api/ollama/models", "/nowhere"):
        answer = await get(client, url + path, headers={"X-Request-ID": given})
        assert answer.headers.getall("X-Request-ID") == [given]


@pytest.mark.parametrize("given", [None, "", "x" * 129, "a b", "a/b", "ä", "a;b"])
async def test_a_missing_or_invalid_request_id_is_replaced(
    client: aiohttp.ClientSession, url: str, given: str | None
) -> None:
    headers = {} if given is None else {"X-Request-ID": given}
    first, second = [(await get(client, f"{url}/health/live", headers=headers)).headers for _ in range(2)]
    assert re.fullmatch(r"[0-9a-f]{32}", first["X-Request-ID"])
    assert first["X-Request-ID"] != second["X-Request-ID"]


async def test_the_request_id_is_in_the_problem_and_in_the_log_lines(
    client: aiohttp.ClientSession, make_settings: MakeSettings, service_log: io.StringIO
) -> None:
    async with serve(create_app(make_settings(log_format="json"))) as url:
        answer = await post(client, url, "generate", GENERATE | {"model": "unknown"}, headers={"X-Request-ID": "one"})
        refused = await post(client, url, "generate", {"prompt": ""}, headers={"X-Request-ID": "two"})
    assert answer.status == 200
    assert problem_in(refused, "invalid_request")["request_id"] == "two"
    lines = [json.loads(line) for line in service_log.getvalue().splitlines() if line.startswith("{")]
    fallback, done = [line for line in lines if line["request_id"] == "one"]
    assert fallback["message"] == "model unknown is not installed; gpt-oss:latest responds instead"
    assert fallback["level"] == "WARNING"
    expected = {"method": "POST", "path": "/api/ollama/generate", "status": 200, "model": "gpt-oss", "fallback": True}
    assert expected.items() <= done.items()
    assert done["tokens"] > 0
    assert done["total_ms"] > 0
    (line,) = [line for line in lines if line["request_id"] == "two"]
    assert line["status"] == 422


async def test_concurrent_requests_keep_their_ids_apart(
    client: aiohttp.ClientSession, url: str, service_log: io.StringIO
) -> None:
    async def ask(id_: str) -> Answer:
        return await post(client, url, "chat", CHAT | {"stream": True}, SSE, headers={"X-Request-ID": id_})

    ids = [f"id-{number}" for number in range(8)]
    answers = await asyncio.gather(*map(ask, ids))
    assert [answer.headers["X-Request-ID"] for answer in answers] == ids
    assert all(f'"request_id":"{id_}"'.encode() in answer.body for id_, answer in zip(ids, answers, strict=True))
    assert all(service_log.getvalue().count(f"[{id_}]") == 1 for id_ in ids)


async def test_a_path_cannot_forge_a_log_line(
    client: aiohttp.ClientSession, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await get(client, f"{url}/nowhere%0Aforged%1B[2J")
    (line,) = request_lines(caplog)
    assert line.isprintable()


async def test_prompts_and_answers_are_not_logged(
    client: aiohttp.ClientSession, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for body in ({"prompt": "hush-hush"}, {"prompt": "hush-hush", "stream": True}, {"prompt": ["hush-hush"]}):
        await post(client, url, "generate", body | {"model": "unknown"})
    await post(client, url, "chat", {"messages": [{"role": "user", "content": "hush-hush"}]})
    await post(client, url, "embeddings", {"text": "hush-hush"})
    assert len(request_lines(caplog)) == 5
    assert "hush" not in caplog.text
    assert "[simulated" not in caplog.text


async def test_probes_are_logged_at_debug_only(
    client: aiohttp.ClientSession, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await get(client, f"{url}/health/live")
    await get(client, f"{url}/api/ollama/models")
    assert len(request_lines(caplog)) == 1

"""Retries when Ollama responds 429 or 503: messages, `Retry-After` and exhausted quotas."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.api import Answer, problem_in
from tests.conftest import MakeSettings
from tests.kinds import (
    EMBEDDINGS,
    KINDS,
    PATIENCE_SECONDS,
    STREAMED_SSE,
    WHOLE,
    Kind,
    nothing_is_left,
    see,
    until,
)
from tests.serving import serve

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
USED_UP = "you (acct) have reached your weekly usage limit, upgrade for higher limits"
SERVER_BUSY = "server busy, please try again.  maximum pending requests exceeded"


@every_kind
async def test_an_exhausted_quota_is_not_retried_and_its_message_is_shown(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    simulator.fault(Fault(status=429, message=f"{USED_UP}: https://ollama.com/upgrade", times=None))
    seen = await see(kind.ask(client, url))
    assert (seen.status, seen.code, seen.json["retryable"]) == (503, "ollama_busy", False)
    assert USED_UP in seen.json["detail"]
    assert "://" not in seen.json["detail"]
    assert len(simulator.calls_to(kind.upstream)) == 1


async def test_an_exhausted_quota_ends_the_retries(
    simulator: Simulator, client: aiohttp.ClientSession, url: str
) -> None:
    simulator.fault(Fault(status=503))
    simulator.fault(Fault(status=429, message=USED_UP, times=None))
    seen = await see(WHOLE.ask(client, url))
    assert (seen.code, seen.json["retryable"]) == ("ollama_busy", False)
    assert len(simulator.calls_to(WHOLE.upstream)) == 2


@every_kind
async def test_the_message_of_a_busy_server_is_shown_after_the_retries(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    simulator.fault(Fault(status=503, message=SERVER_BUSY, times=None))
    seen = await see(kind.ask(client, url))
    assert (seen.status, seen.code, seen.json["retryable"]) == (503, "ollama_busy", True)
    assert SERVER_BUSY in seen.json["detail"]
    assert seen.headers["Retry-After"] == "5"
    assert len(simulator.calls_to(kind.upstream)) == 3


@every_kind
@pytest.mark.parametrize("status", [429, 503])
async def test_the_next_attempt_waits_for_retry_after(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind, status: int
) -> None:
    simulator.fault(Fault(status=status, retry_after="0.15"))
    assert (await see(kind.ask(client, url))).status == 200
    first, second = simulator.calls_to(kind.upstream)
    assert second.started - (first.ended or 0) >= 0.15


async def test_retry_after_may_be_a_date(simulator: Simulator, client: aiohttp.ClientSession, url: str) -> None:
    until_then = datetime.now(UTC) + timedelta(seconds=3)  # dates have a resolution of one second
    simulator.fault(Fault(status=503, retry_after=format_datetime(until_then, usegmt=True)))
    assert (await see(WHOLE.ask(client, url))).status == 200
    first, second = simulator.calls_to(WHOLE.upstream)
    assert second.started - first.started >= 0.5


@pytest.mark.parametrize("value", ["-5", "soon", "", "Wed, 21 Oct 2015 07:28:00 GMT", "0"])
async def test_a_short_retry_after_does_not_shorten_the_backoff(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, value: str
) -> None:
    simulator.fault(Fault(status=429, retry_after=value))
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await see(WHOLE.ask(client, url))).status == 200
    assert len(simulator.calls_to(WHOLE.upstream)) == 2


@every_kind
@pytest.mark.parametrize(("value", "told"), [("11", "11"), ("120", "120"), ("86400", "3600")])
async def test_a_long_retry_after_is_passed_on_to_the_client(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind, value: str, told: str
) -> None:
    simulator.fault(Fault(status=503, retry_after=value, times=None))
    seen = await see(kind.ask(client, url))
    assert (seen.status, seen.code, seen.json["retryable"]) == (503, "ollama_busy", True)
    assert seen.headers["Retry-After"] == told
    assert len(simulator.calls_to(kind.upstream)) == 1


@every_kind
async def test_a_wait_beyond_the_request_timeout_is_not_started(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    simulator.fault(Fault(status=503, retry_after="9", times=None))
    async with serve(create_app(make_settings(ollama_request_timeout=8))) as url, asyncio.timeout(7):
        seen = await see(kind.ask(client, url))
    assert (seen.status, seen.code, seen.headers["Retry-After"]) == (503, "ollama_busy", "9")
    assert len(simulator.calls_to(kind.upstream)) == 1


async def test_a_backoff_beyond_the_request_timeout_is_reported_as_busy(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.fault(Fault(status=503, message=SERVER_BUSY, times=None))
    settings = make_settings(ollama_request_timeout=0.5, ollama_retry_backoff=5)
    async with serve(create_app(settings)) as url:
        seen = await see(WHOLE.ask(client, url))
    assert (seen.status, seen.code) == (503, "ollama_busy")


@pytest.mark.parametrize("kind", [WHOLE, STREAMED_SSE, EMBEDDINGS], ids=lambda kind: kind.name)
async def test_a_disconnect_ends_the_wait(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, caplog: pytest.LogCaptureFixture, kind: Kind
) -> None:
    caplog.set_level(logging.WARNING)
    simulator.fault(Fault(status=503, retry_after="9"))
    asking = asyncio.create_task(see(kind.ask(client, url)))
    await until(lambda: "attempt 1 failed, next in 9.0 s" in caplog.text)
    asking.cancel()
    await asyncio.wait({asking})
    await nothing_is_left(client, url, simulator)
    assert len(simulator.calls_to(kind.upstream)) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_a_truncated_busy_response_is_still_busy(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, status: int
) -> None:
    simulator.fault(Fault(status=status, truncate_body=True))
    assert (await see(WHOLE.ask(client, url))).status == 200
    assert len(simulator.calls_to(WHOLE.upstream)) == 2


@every_kind
async def test_the_message_of_an_error_in_a_200_is_shown(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    body = b'{"error":{"message":"the upstream of http://10.1.2.3 died"}}\n'
    simulator.fault(Fault(body=body, content_type="application/json"))
    seen = await see(kind.ask(client, url, **({} if kind is EMBEDDINGS else {"fallback": False})))
    assert (seen.status, seen.code, seen.json["retryable"]) == (502, "ollama_error", False)
    assert "died" in seen.json["detail"]
    assert "10.1.2.3" not in seen.json["detail"]


async def test_the_message_of_an_error_in_a_200_model_list_is_shown(
    simulator: Simulator, client: aiohttp.ClientSession, url: str
) -> None:
    simulator.fault(Fault(path="/api/tags", body=b'{"error":"the disk is full"}'))
    async with client.get(f"{url}/api/ollama/models?force_refresh=true") as response:
        answer = Answer(response.status, response.headers, await response.read())
    assert "the disk is full" in problem_in(answer, "ollama_error")["detail"]

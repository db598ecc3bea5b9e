"""The log line of a request: outcome, timings and attempts."""

import asyncio
import logging
from typing import Any, NoReturn

import aiohttp
import pytest
from starlette.types import Receive, Scope, Send

from main import create_app
from middleware.request_context import RequestContextMiddleware
from routers.dependencies import get_ollama_service
from server.shutdown import Shutdown
from simulator import Fault, Simulator
from tests.api import CHAT, call, get
from tests.conftest import MakeSettings
from tests.kinds import EMBEDDINGS, KINDS, STREAMED_NDJSON, WHOLE, Kind, load_is, see, until
from tests.server.observability.log_lines import lines, the_line
from tests.serving import serve

pytestmark = pytest.mark.usefixtures("at_info")
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
every_stream = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.is_stream], ids=lambda kind: kind.name)


# Outcome


@every_kind
async def test_a_complete_response(
    client: aiohttp.ClientSession, url: str, caplog: pytest.LogCaptureFixture, kind: Kind
) -> None:
    assert (await see(kind.ask(client, url))).status == 200
    line = await the_line(caplog)
    expected = {"method": "POST", "path": f"/api/ollama/{kind.path}", "status": "200", "outcome": "whole"}
    assert expected.items() <= line.items()
    assert (line["client"], line["attempts"]) == ("127.0.0.1", "1")
    assert float(line["queue_ms"]) >= 0
    assert int(line["prompt_tokens"]) > 0
    assert kind is EMBEDDINGS or int(line["tokens"]) > 0
    assert line.get("fallback") == (None if kind is EMBEDDINGS else "False")
    assert float(line["total_ms"]) > 0
    assert ("first_token_ms" in line) is kind.is_stream
    assert not {"error", "key", "trace_id", "given_request_id"} & set(line)


@every_stream
async def test_a_disconnect_during_a_stream(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, caplog: pytest.LogCaptureFixture, kind: Kind
) -> None:
    simulator.fault(Fault(stall_after=2))
    async with kind.ask(client, url) as response:
        assert response.status == 200
        await response.content.readany()
    line = await the_line(caplog)
    assert (line["status"], line["outcome"], line["model"]) == ("200", "left", "llama3.1")
    assert "error" not in line
    assert "tokens" not in line


@every_kind
async def test_a_disconnect_before_the_first_byte(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, caplog: pytest.LogCaptureFixture, kind: Kind
) -> None:
    simulator.fault(Fault(hang=True))
    asking = asyncio.create_task(see(kind.ask(client, url)))
    await until(lambda: len(simulator.calls_to(kind.upstream)) == 1)
    asking.cancel()
    await asyncio.wait({asking})
    line = await the_line(caplog)
    assert (line["status"], line["outcome"], line["attempts"]) == ("499", "left", "1")


async def test_a_disconnect_in_the_queue(
    make_settings: MakeSettings, client: aiohttp.ClientSession, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(create_app(make_settings(ollama_max_connections=1))) as url:
        simulator.fault(Fault(hang=True))
        first = asyncio.create_task(see(WHOLE.ask(client, url)))
        await load_is(client, url, running=1)
        second = asyncio.create_task(see(WHOLE.ask(client, url)))
        await load_is(client, url, running=1, queued=1)
        second.cancel()
        await asyncio.wait({second})
        line = await the_line(caplog)
        first.cancel()
        await asyncio.wait({first})
    assert (line["status"], line["outcome"]) == ("499", "left")
    assert float(line["queue_ms"]) > 0
    assert "attempts" not in line


async def test_a_disconnect_during_the_body(url: str, caplog: pytest.LogCaptureFixture) -> None:
    host, port = url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /api/ollama/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    line = await the_line(caplog)
    assert (line["status"], line["outcome"]) == ("499", "left")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@every_stream
@pytest.mark.parametrize(
    ("fault", "code"), [(Fault(reset_after=2), "ollama_error"), (Fault(stall_after=2), "timeout")], ids=["cut", "stall"]
)
async def test_a_stream_that_fails(
    make_settings: MakeSettings,
    client: aiohttp.ClientSession,
    simulator: Simulator,
    caplog: pytest.LogCaptureFixture,
    kind: Kind,
    fault: Fault,
    code: str,
) -> None:
    async with serve(create_app(make_settings(ollama_stream_idle_timeout=0.1))) as url:
        simulator.fault(fault)
        assert (await see(kind.ask(client, url))).status == 200
        line = await the_line(caplog)
    assert (line["status"], line["outcome"], line["error"]) == ("200", "failed", code)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nowhere", None, 404, "not_found"),
        ("DELETE", "/api/ollama/chat", None, 405, "method_not_allowed"),
        ("POST", "/api/ollama/chat", {}, 422, "invalid_request"),
        ("POST", "/api/ollama/embeddings", {"text": "a", "model": "unknown"}, 404, "model_not_found"),
        ("POST", "/api/ollama/chat", CHAT | {"model": "nomic-embed-text"}, 400, "unsupported_by_model"),
    ],
)
async def test_a_rejected_request(
    client: aiohttp.ClientSession,
    url: str,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    body: Any,
    status: int,
    code: str,
) -> None:
    assert (await call(client, method, url + path, json=body)).status == status
    line = await the_line(caplog)
    assert (line["status"], line["outcome"], line["error"]) == (str(status), "failed", code)
    assert (line["client"], line["method"]) == ("127.0.0.1", method)


async def test_an_unexpected_error(
    make_settings: MakeSettings, client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> NoReturn:
        raise RuntimeError("no")

    app = create_app(make_settings())
    app.dependency_overrides[get_ollama_service] = broken
    async with serve(app) as url:
        assert (await get(client, f"{url}/api/ollama/models")).status == 500
    line = await the_line(caplog)
    assert (line["status"], line["outcome"], line["error"]) == ("500", "failed", "internal_error")


async def test_an_incomplete_response(client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture) -> None:
    async def unfinished(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})

    async with serve(RequestContextMiddleware(unfinished, Shutdown(grace_seconds=0, delay_seconds=0))) as url:
        assert (await see(client.get(url))).cut
    line = await the_line(caplog)
    assert (line["status"], line["outcome"]) == ("200", "failed")


async def test_a_response_without_a_body_and_a_page_are_complete(
    make_settings: MakeSettings, client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(create_app(make_settings(cors_origins=("https://app.example",)))) as url:
        headers = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
        await call(client, "OPTIONS", f"{url}/api/ollama/chat", headers=headers)
        for path in ("/", "/docs", "/openapi.json", "/api/ollama/models"):
            await get(client, url + path)
    assert [line["outcome"] for line in lines(caplog)] == ["whole"] * 5


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/health/live"])
async def test_probes_are_logged_at_debug(
    client: aiohttp.ClientSession, url: str, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    await get(client, url + path)
    assert lines(caplog) == []
    caplog.set_level(logging.DEBUG)
    await get(client, url + path)
    assert (await the_line(caplog))["outcome"] == "whole"


async def test_a_wrong_key_is_logged_under_any_path(
    client: aiohttp.ClientSession, make_settings: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(create_app(make_settings(api_keys=("a-key-of-this-test",)))) as url:
        await get(client, f"{url}/health/other", headers={"Authorization": "Bearer wrong"})
    assert (await the_line(caplog))["status"] == "401"


# Timings and attempts


@every_kind
async def test_attempts_are_counted(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, caplog: pytest.LogCaptureFixture, kind: Kind
) -> None:
    simulator.fault(Fault(status=503, times=2))
    assert (await see(kind.ask(client, url))).status == 200
    assert (await the_line(caplog))["attempts"] == "3"


async def test_attempts_of_a_failure_are_counted(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.fault(Fault(status=503, times=None))
    assert (await see(WHOLE.ask(client, url))).status == 503
    line = await the_line(caplog)
    assert (line["attempts"], line["outcome"], line["error"]) == ("3", "failed", "ollama_busy")


@pytest.mark.parametrize("kind", [WHOLE, STREAMED_NDJSON, EMBEDDINGS], ids=lambda kind: kind.name)
async def test_the_time_in_the_queue_is_logged(
    make_settings: MakeSettings,
    client: aiohttp.ClientSession,
    simulator: Simulator,
    caplog: pytest.LogCaptureFixture,
    kind: Kind,
) -> None:
    async with serve(create_app(make_settings(ollama_max_connections=1))) as url:
        has_waited = asyncio.Event()
        simulator.fault(Fault(until=has_waited))
        first = asyncio.create_task(see(WHOLE.ask(client, url)))
        await load_is(client, url, running=1)
        second = asyncio.create_task(see(kind.ask(client, url)))
        await load_is(client, url, running=1, queued=1)
        await asyncio.sleep(0.05)
        has_waited.set()
        assert (await second).status == 200
        await first
    waits = sorted(float(line["queue_ms"]) for line in lines(caplog))
    assert waits[0] < waits[1]
    assert waits[1] >= 50

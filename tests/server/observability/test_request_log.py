"""The log line of a request: outcome, client and timings."""

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import aiohttp
import pytest
from pydantic import SecretStr
from starlette.types import Receive, Scope, Send

from main import create_app
from middleware.request_context import RequestContextMiddleware
from routers.dependencies import get_ollama_service
from server.observability.logging import configure_logging
from server.shutdown import Shutdown
from simulator import Fault, Simulator
from tests.api import CHAT, GENERATE, call, get, post
from tests.conftest import MakeSettings
from tests.kinds import EMBEDDINGS, KINDS, STREAMED_NDJSON, WHOLE, Kind, load_is, nothing_is_left, see, until
from tests.service_process import ROOT, run_service
from tests.serving import serve

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
every_stream = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.is_stream], ids=lambda kind: kind.name)
TABLE = (ROOT / "docs" / "operating.md").read_text().partition("## Log\n")[2].partition("\n## ")[0]
DOCUMENTED = {name for row in re.findall(r"^\| (`.*?) \|", TABLE, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, str]]:
    """Return the request log lines so far, parsed from their text."""
    records = [record for record in caplog.records if record.name == "middleware.request_context"]
    texts = [record.getMessage() for record in records if record.levelno <= logging.INFO]
    assert all(text.isprintable() for text in texts)
    found = [dict(pair.split("=", 1) for pair in text.split(" ")) for text in texts]
    assert all(set(line) <= DOCUMENTED for line in found)
    return found


async def the_line(caplog: pytest.LogCaptureFixture) -> dict[str, str]:
    """Wait for the line of the one request."""
    await until(lambda: len(lines(caplog)) == 1)
    (line,) = lines(caplog)
    return line


@pytest.fixture
def json_log(make_settings: MakeSettings) -> Iterator[io.StringIO]:
    """The output of the service's log handler."""
    configure_logging(make_settings())
    (handler,) = [
        handler
        for handler in logging.getLogger().handlers
        if type(handler).__module__ == "server.observability.logging"
    ]
    assert isinstance(handler, logging.StreamHandler)
    written = io.StringIO()
    before = handler.setStream(written)
    yield written
    handler.setStream(before)


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


# Client and key


KEY = "first-key"
FINGERPRINT = sha256(KEY.encode()).hexdigest()[:8]


@pytest.mark.parametrize(
    ("headers", "named", "outcome"),
    [
        ({"X-API-Key": KEY}, FINGERPRINT, "whole"),
        ({"Authorization": f"Bearer {KEY}"}, FINGERPRINT, "whole"),
        ({"X-API-Key": "second-key"}, sha256(b"second-key").hexdigest()[:8], "whole"),
        ({"X-API-Key": "wrong-key"}, "wrong", "failed"),
        ({"Authorization": "Bearer wrong-key"}, "wrong", "failed"),
        ({"Authorization": "Basic wrong-key"}, "missing", "failed"),
        ({}, "missing", "failed"),
    ],
)
async def test_a_key_is_logged_by_its_fingerprint(
    make_settings: MakeSettings,
    client: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
    headers: dict[str, str],
    named: str,
    outcome: str,
) -> None:
    keys = (SecretStr("second-key"), SecretStr(KEY))
    async with serve(create_app(make_settings(api_keys=keys))) as url:
        await get(client, f"{url}/api/ollama/models", headers=headers)
    line = await the_line(caplog)
    assert (line["key"], line["outcome"], line["client"]) == (named, outcome, "127.0.0.1")
    assert line.get("error") == ("unauthorized" if outcome == "failed" else None)
    assert "-key" not in caplog.text
    assert sha256(b"wrong-key").hexdigest()[:8] not in caplog.text


@pytest.mark.parametrize(
    ("forwarded", "named"),
    [
        (None, "127.0.0.1"),
        ("203.0.113.7", "203.0.113.7"),
        ("10.0.0.1, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 127.0.0.1", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("", "127.0.0.1"),
        ("x status=200 outcome=whole", "x%20status%3D200%20outcome%3Dwhole"),
        ("y" * 5000, "y" * 64),
    ],
)
async def test_a_trusted_proxy_names_the_client(
    client: aiohttp.ClientSession,
    url: str,
    caplog: pytest.LogCaptureFixture,
    forwarded: str | None,
    named: str,
) -> None:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    await get(client, f"{url}/api/ollama/models", headers=headers)
    assert (await the_line(caplog))["client"] == named


@pytest.mark.parametrize(
    ("trusted", "named"), [("127.0.0.1", "203.0.113.7"), ("127.0.0.0/8", "203.0.113.7"), ("10.0.0.0/8", "127.0.0.1")]
)
async def test_forwarded_allow_ips_selects_the_trusted_proxies(
    client: aiohttp.ClientSession, simulator: Simulator, tmp_path: Path, trusted: str, named: str
) -> None:
    async with run_service(simulator.url, tmp_path, forwarded_allow_ips=trusted) as service:
        headers = {"X-Forwarded-For": "203.0.113.7"}
        assert (await get(client, f"{service.url}/api/ollama/models", headers=headers)).status == 200
        await until(lambda: "path=/api/ollama/models" in service.log)
        assert f"client={named} " in service.log


# Ids


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a.b:c", "a.b:c"),
        ("a b", "a%20b"),
        ("a=b status=999", "a%3Db%20status%3D999"),
        ("ä", "%C3%A4"),
        ("x" * 5000, "x" * 128),
        ("fine-id_1", None),
        ("", None),
    ],
)
async def test_a_replaced_request_id_is_logged(
    client: aiohttp.ClientSession, url: str, caplog: pytest.LogCaptureFixture, given: str, shown: str | None
) -> None:
    await get(client, f"{url}/api/ollama/models", headers={"X-Request-ID": given})
    assert (await the_line(caplog)).get("given_request_id") == shown


@pytest.mark.parametrize(
    ("traceparent", "trace_id"),
    [
        (f"00-{TRACE}-{PARENT}-01", TRACE),
        (f"00-{TRACE}-{PARENT}-00", TRACE),
        (f"cc-{TRACE}-{PARENT}-01-what-comes-later", TRACE),
        (f"00-{TRACE}-{PARENT}-01-more", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{PARENT}-01", None),
        (f"00-{TRACE}-{PARENT}", None),
        (f"00-{TRACE[1:]}-{PARENT}-01", None),
        ("00", None),
        ("", None),
    ],
)
async def test_the_trace_id_is_logged(
    client: aiohttp.ClientSession, url: str, caplog: pytest.LogCaptureFixture, traceparent: str, trace_id: str | None
) -> None:
    await post(client, url, "generate", GENERATE, headers={"traceparent": traceparent})
    assert (await the_line(caplog)).get("trace_id") == trace_id


async def test_a_repeated_traceparent_is_ignored(
    client: aiohttp.ClientSession, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = [("traceparent", f"00-{TRACE}-{PARENT}-01"), ("traceparent", f"00-{TRACE}-{PARENT}-01")]
    await call(client, "GET", f"{url}/api/ollama/models", headers=headers)
    assert "trace_id" not in await the_line(caplog)


# JSON


async def test_json_has_each_field_once_with_its_type(
    make_settings: MakeSettings, client: aiohttp.ClientSession, simulator: Simulator, json_log: io.StringIO
) -> None:
    settings = make_settings(log_format="json", api_keys=(SecretStr(KEY),))
    async with serve(create_app(settings)) as url:
        headers = {"X-API-Key": KEY, "X-Request-ID": "one.two", "traceparent": f"00-{TRACE}-{PARENT}-01"}
        simulator.fault(Fault(status=503))
        body = GENERATE | {"model": "unknown", "stream": True}
        assert (await post(client, url, "generate", body, "text/event-stream", headers=headers)).status == 200
        await nothing_is_left(client, url, simulator)
    documents = [json.loads(line) for line in json_log.getvalue().splitlines() if line.startswith("{")]
    (line,) = [one for one in documents if "outcome" in one]
    for name in ("time", "request_id", "first_token_ms", "total_ms", "queue_ms", "prompt_tokens", "tokens"):
        assert line.pop(name) is not None
    assert line == {
        "level": "INFO",
        "logger": "middleware.request_context",
        "message": "POST /api/ollama/generate 200 whole",
        "method": "POST",
        "path": "/api/ollama/generate",
        "status": 200,
        "outcome": "whole",
        "client": "127.0.0.1",
        "key": FINGERPRINT,
        "model": "gpt-oss",
        "fallback": True,
        "attempts": 2,
        "trace_id": TRACE,
        "given_request_id": "one.two",
    }
    others = [one["message"] for one in documents if one.get("trace_id") == TRACE and "outcome" not in one]
    assert len(others) == 2  # the fallback and the attempt that failed

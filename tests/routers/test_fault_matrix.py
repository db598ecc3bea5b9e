"""Every fault of the upstream with every kind of request: the response, and that no resources leak."""

import asyncio
import logging
from dataclasses import dataclass

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.conftest import MakeSettings
from tests.kinds import EMBEDDINGS, KINDS, PATIENCE_SECONDS, Kind, Seen, check_one_last, nothing_is_left, see, until
from tests.serving import serve

ATTEMPTS = 3
IDLE_CONNECTIONS = 3
"""Connections that consecutive requests need: one for generations, two for health and model lists."""


@dataclass(frozen=True)
class Expected:
    """The expected status, error code and number of attempts; 200 with a code is an error after the first byte."""

    status: int
    code: str | None = None
    attempts: int = 1
    detail: str = ""


OK = Expected(200)
FAILS = Expected(502, "ollama_error")
BREAKS = Expected(200, "ollama_error")
LATE = Expected(504, "timeout", detail="OLLAMA_REQUEST_TIMEOUT")
SILENT = Expected(200, "timeout", detail="OLLAMA_STREAM_IDLE_TIMEOUT")
HTML = b"<html><body>nginx at http://10.1.2.3:8080</body></html>"


@dataclass(frozen=True)
class Case:
    """A fault and the expected outcome for each response format."""

    name: str
    fault: Fault
    whole: Expected
    stream: Expected
    embeddings: Expected

    def expected(self, kind: Kind) -> Expected:
        if kind is EMBEDDINGS:
            return self.embeddings
        return self.stream if kind.is_stream else self.whole


def case(
    name: str, fault: Fault, whole: Expected, stream: Expected | None = None, embeddings: Expected | None = None
) -> Case:
    return Case(name, fault, whole, stream or whole, embeddings or whole)


FOR_EVER = None
CASES = [
    case("none", Fault(), OK),
    case("delay", Fault(delay_seconds=0.05, times=FOR_EVER), OK),
    case("hang", Fault(hang=True, times=FOR_EVER), LATE),
    case("status-500", Fault(status=500, times=FOR_EVER), FAILS),
    case("status-502-html", Fault(status=502, body=HTML, times=FOR_EVER), FAILS),
    case("status-400", Fault(status=400, message="it cannot", times=FOR_EVER), Expected(400, "rejected_by_ollama")),
    case("status-403", Fault(status=403, message="no", times=FOR_EVER), FAILS),
    case("status-404", Fault(status=404, message="no such model", times=FOR_EVER), Expected(404, "model_not_found")),
    case("status-404-html", Fault(status=404, body=HTML, times=FOR_EVER), FAILS),
    case("status-301", Fault(status=301, body=HTML, times=FOR_EVER), FAILS),
    case("status-204", Fault(status=204, body=b"", times=FOR_EVER), FAILS),
    case("busy-503", Fault(status=503, times=FOR_EVER), Expected(503, "ollama_busy", ATTEMPTS)),
    case("busy-429", Fault(status=429, retry_after="0", times=FOR_EVER), Expected(503, "ollama_busy", ATTEMPTS)),
    case("busy-for-11-s", Fault(status=429, retry_after="11", times=FOR_EVER), Expected(503, "ollama_busy")),
    case("busy-once", Fault(status=503), Expected(200, attempts=2)),
    case("busy-twice", Fault(status=429, times=2), Expected(200, attempts=3)),
    case("html", Fault(body=HTML, times=FOR_EVER), FAILS),
    case("empty", Fault(body=b"", times=FOR_EVER), FAILS),
    case("array", Fault(body=b"[1, 2]\n", times=FOR_EVER), FAILS),
    case("other-json", Fault(body=b'{"message": 1}\n', times=FOR_EVER), FAILS),
    case("load-failure", Fault(load_failure=True, times=FOR_EVER), FAILS),
    case("reset-at-once", Fault(reset_after=0, times=FOR_EVER), FAILS),
    case("reset-later", Fault(reset_after=2, times=FOR_EVER), FAILS, BREAKS, FAILS),
    case("error-at-once", Fault(error_after=0, times=FOR_EVER), FAILS, FAILS, OK),
    case("error-later", Fault(error_after=2, times=FOR_EVER), FAILS, BREAKS, OK),
    case("end-at-once", Fault(end_after=0, times=FOR_EVER), FAILS, FAILS, OK),
    case("end-later", Fault(end_after=2, times=FOR_EVER), FAILS, BREAKS, OK),
    case("stall-at-once", Fault(stall_after=0, times=FOR_EVER), LATE),
    case("stall-later", Fault(stall_after=2, times=FOR_EVER), LATE, SILENT, LATE),
    case("truncated", Fault(truncate_body=True, times=FOR_EVER), FAILS, BREAKS, FAILS),
    case("split", Fault(split_bytes=7, times=FOR_EVER), OK),
    case("merged", Fault(merge=True, times=FOR_EVER), OK),
    case("long-line", Fault(line_bytes=2_000_000, times=FOR_EVER), OK),
    case("closed-after", Fault(close_after_response=True, times=FOR_EVER), OK),
    case("garbage-status-line", Fault(garbage_status_line=True, times=FOR_EVER), FAILS),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_the_response_to_a_fault(
    make_settings: MakeSettings,
    simulator: Simulator,
    client: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
    case: Case,
) -> None:
    limits = {"ollama_request_timeout": 0.5, "ollama_stream_idle_timeout": 0.1} if case.whole is LATE else {}
    async with serve(create_app(make_settings(**limits))) as url:
        for kind in KINDS:
            expected = case.expected(kind)
            simulator.clear_faults()
            simulator.fault(case.fault)
            before = len(simulator.calls_to(kind.upstream))
            more = {} if kind is EMBEDDINGS else {"fallback": False}
            seen = await see(kind.ask(client, url, **more))
            check(seen, kind, expected)
            assert len(simulator.calls_to(kind.upstream)) - before == expected.attempts, kind.name
            await nothing_is_left(client, url, simulator)
            assert simulator.open_connections <= IDLE_CONNECTIONS
        simulator.clear_faults()
        async with asyncio.timeout(PATIENCE_SECONDS):
            for kind in KINDS:
                while (await see(kind.ask(client, url))).status != 200:
                    assert limits, "only a short limit may be the reason"
    await until(lambda: simulator.open_connections == 0)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def check(seen: Seen, kind: Kind, expected: Expected) -> None:
    assert seen.status == expected.status, (kind.name, seen.body[:300])
    assert b"10.1.2.3" not in seen.body
    assert b"127.0.0.1" not in seen.body
    assert b"Traceback" not in seen.body
    if expected.status != 200:
        assert seen.code == expected.code, kind.name
        assert expected.detail in seen.json["detail"]
        assert ("Retry-After" in seen.headers) == (expected.status == 503)
        assert seen.json["retryable"] == (expected.code == "ollama_busy")
        assert not seen.cut
        return
    assert seen.headers["X-Model"]
    assert seen.headers["X-Model-Fallback"] == "false"
    if not kind.is_stream:
        assert seen.json["success"] is True
    elif kind.tells_more:
        check_one_last(seen.events, "error" if expected.code else "done")
        assert seen.events[-1].get("code") == expected.code
        assert expected.detail in seen.events[-1].get("detail", "")
        assert not seen.cut
    else:
        assert seen.cut == (expected.code is not None), kind.name
        assert b"rror" not in seen.body


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_a_dead_connection_is_replaced_once(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    assert (await see(kind.ask(client, url))).status == 200
    simulator.fault(Fault(drop_reused=True))
    assert (await see(kind.ask(client, url))).status == 200
    calls = simulator.calls_to(kind.upstream)
    assert [call.outcome for call in calls] == ["completed", "reset", "completed"]
    assert [call.reused for call in calls] == [False, True, False]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_a_fresh_connection_that_dies_is_not_replaced(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    simulator.fault(Fault(reset_after=0))
    assert (await see(kind.ask(client, url))).status == 502
    assert len(simulator.calls_to(kind.upstream)) == 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.tells_more], ids=lambda kind: kind.name)
async def test_data_after_the_last_line_is_ignored(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    done = b'{"response":"","message":{"content":""},"done":true,"done_reason":"stop"}\n'
    more = b'{"response":"more","message":{"content":"more"},"done":false}\n'
    for body in (done + more, done + done, done + b"garbage\n", done + b'{"error":"late"}\n'):
        simulator.fault(Fault(body=body, content_type="application/x-ndjson"))
        seen = await see(kind.ask(client, url))
        assert (seen.status, seen.cut) == (200, False)
        check_one_last(seen.events, "done")
        await nothing_is_left(client, url, simulator)

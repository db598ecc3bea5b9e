"""Ollama's own API: the response to every fault of the upstream, for every kind of request."""

import json
import logging
from dataclasses import dataclass

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.conftest import MakeSettings
from tests.kinds import NATIVES, Kind, Seen, nothing_is_left, see, until
from tests.routers.native.requests import TEXT, error_in
from tests.serving import serve

ATTEMPTS = 3
FOR_EVER = None


@dataclass(frozen=True)
class Case:
    """A fault and the expected status, error message of the service, and whether a stream is closed."""

    name: str
    fault: Fault
    status: int
    ours: str = ""
    attempts: int = 1
    stream_status: int = 0
    is_cut: bool = False


CASES = [
    Case("none", Fault(), 200),
    Case("hang", Fault(hang=True, times=FOR_EVER), 504, "OLLAMA_REQUEST_TIMEOUT"),
    Case("status-400", Fault(status=400, message=TEXT, times=FOR_EVER), 400),
    Case("status-403", Fault(status=403, body=b"", times=FOR_EVER), 403),
    Case("status-404", Fault(status=404, message=TEXT, times=FOR_EVER), 404),
    Case("status-404-plain", Fault(status=404, body=b"404 page not found", content_type="text/plain"), 404),
    Case("status-499", Fault(status=499, message=TEXT, times=FOR_EVER), 499),
    Case("status-500", Fault(status=500, message=TEXT, times=FOR_EVER), 500),
    Case("status-501", Fault(status=501, message=TEXT, times=FOR_EVER), 501),
    Case("status-502", Fault(status=502, body=b"<html>", times=FOR_EVER), 502),
    Case("status-204", Fault(status=204, body=b"", times=FOR_EVER), 204),
    Case("status-301", Fault(status=301, body=b"moved", times=FOR_EVER), 301),
    Case("busy-503", Fault(status=503, message=TEXT, times=FOR_EVER), 503, attempts=ATTEMPTS),
    Case("busy-429", Fault(status=429, message=TEXT, retry_after="0", times=FOR_EVER), 429, attempts=ATTEMPTS),
    Case("busy-for-70-s", Fault(status=503, message=TEXT, retry_after="70", times=FOR_EVER), 503),
    Case("quota", Fault(status=429, message="you have reached your weekly usage limit", times=FOR_EVER), 429),
    Case("busy-once", Fault(status=503), 200, attempts=2),
    Case("busy-twice", Fault(status=429, times=2), 200, attempts=3),
    Case("load-failure", Fault(load_failure=True, times=FOR_EVER), 500),
    Case("reset-at-once", Fault(reset_after=0, times=FOR_EVER), 502, "closed the connection"),
    Case("reset-later", Fault(reset_after=2, times=FOR_EVER), 502, "cut short", stream_status=200, is_cut=True),
    Case("truncated", Fault(truncate_body=True, times=FOR_EVER), 502, "cut short", stream_status=200, is_cut=True),
    Case("stall-at-once", Fault(stall_after=0, times=FOR_EVER), 504, "OLLAMA_REQUEST_TIMEOUT"),
    Case(
        "stall-later",
        Fault(stall_after=2, times=FOR_EVER),
        504,
        "OLLAMA_REQUEST_TIMEOUT",
        stream_status=200,
        is_cut=True,
    ),
    Case("split", Fault(split_bytes=7, times=FOR_EVER), 200),
    Case("merged", Fault(merge=True, times=FOR_EVER), 200),
    Case("closed-after", Fault(close_after_response=True, times=FOR_EVER), 200),
    Case("garbage-status-line", Fault(garbage_status_line=True, times=FOR_EVER), 502, "could not be parsed"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_the_response_to_a_fault(
    make_settings: MakeSettings,
    simulator: Simulator,
    client: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
    case: Case,
) -> None:
    is_late = case.fault.hang or case.fault.stall_after is not None
    settings = make_settings(
        ollama_request_timeout=0.5 if is_late else 10, ollama_stream_idle_timeout=0.1 if is_late else 10
    )
    async with serve(create_app(settings)) as url:
        for kind in NATIVES:
            simulator.clear_faults()
            simulator.fault(case.fault)
            before = len(simulator.calls_to(kind.upstream))
            check(await see(kind.ask(client, url)), kind, case)
            assert len(simulator.calls_to(kind.upstream)) - before == case.attempts, kind.name
            await nothing_is_left(client, url, simulator)
        simulator.clear_faults()
        assert {(await see(kind.ask(client, url))).status for kind in NATIVES} == {200}
    await until(lambda: simulator.open_connections == 0)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def check(seen: Seen, kind: Kind, case: Case) -> None:
    status = case.stream_status if kind.is_stream and case.stream_status else case.status
    assert seen.status == status, (kind.name, seen.body[:300])
    assert seen.cut == (kind.is_stream and case.is_cut), kind.name
    if case.ours and status != 200:
        assert case.ours in error_in(seen)
    elif status in {503, 429}:
        assert (
            int(seen.headers["Retry-After"]) == float(case.fault.retry_after or 5) or seen.headers["Retry-After"] == "1"
        )
    if status != 200 and case.fault.body is not None:
        assert seen.body == case.fault.body
    elif status not in {200, 504, 502} and not case.fault.load_failure:
        assert json.loads(seen.body) == {"error": case.fault.message}

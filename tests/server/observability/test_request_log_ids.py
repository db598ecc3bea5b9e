"""Who sent a request, in its log line: client, key, request id and trace id; and the line as JSON."""

import io
import json
from hashlib import sha256
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr

from main import create_app
from simulator import Fault, Simulator
from tests.api import GENERATE, call, get, post
from tests.conftest import MakeSettings
from tests.kinds import nothing_is_left, until
from tests.server.observability.log_lines import the_line
from tests.service_process import run_service
from tests.serving import serve

pytestmark = pytest.mark.usefixtures("at_info")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


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
    make_settings: MakeSettings, client: aiohttp.ClientSession, simulator: Simulator, service_log: io.StringIO
) -> None:
    settings = make_settings(log_format="json", api_keys=(SecretStr(KEY),))
    async with serve(create_app(settings)) as url:
        headers = {"X-API-Key": KEY, "X-Request-ID": "one.two", "traceparent": f"00-{TRACE}-{PARENT}-01"}
        simulator.fault(Fault(status=503))
        body = GENERATE | {"model": "unknown", "stream": True}
        assert (await post(client, url, "generate", body, "text/event-stream", headers=headers)).status == 200
        await nothing_is_left(client, url, simulator)
    documents = [json.loads(line) for line in service_log.getvalue().splitlines() if line.startswith("{")]
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

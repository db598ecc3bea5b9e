"""Request ids, API keys, body size limit and CORS."""

import asyncio
import io
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from pydantic import SecretStr
from yarl import URL

from main import create_app
from server.observability.logging import configure_logging
from simulator import Simulator
from tests.api import CHAT, GENERATE, Answer, call, get, post, problem_in
from tests.conftest import MakeSettings
from tests.kinds import PATIENCE_SECONDS
from tests.serving import serve
from tests.sse import SSE

REQUESTS = "middleware.request_context"
KEYS = (SecretStr("first-key"), SecretStr("schlüssel"))
ORIGIN = "https://app.example"


def request_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == REQUESTS]


@pytest.fixture
def log(make_settings: MakeSettings) -> Iterator[io.StringIO]:
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


# Request ids


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
    client: aiohttp.ClientSession, make_settings: MakeSettings, log: io.StringIO
) -> None:
    async with serve(create_app(make_settings(log_format="json"))) as url:
        answer = await post(client, url, "generate", GENERATE | {"model": "unknown"}, headers={"X-Request-ID": "one"})
        refused = await post(client, url, "generate", {"prompt": ""}, headers={"X-Request-ID": "two"})
    assert answer.status == 200
    assert problem_in(refused, "invalid_request")["request_id"] == "two"
    lines = [json.loads(line) for line in log.getvalue().splitlines() if line.startswith("{")]
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
    client: aiohttp.ClientSession, url: str, log: io.StringIO
) -> None:
    async def ask(id_: str) -> Answer:
        return await post(client, url, "chat", CHAT | {"stream": True}, SSE, headers={"X-Request-ID": id_})

    ids = [f"id-{number}" for number in range(8)]
    answers = await asyncio.gather(*map(ask, ids))
    assert [answer.headers["X-Request-ID"] for answer in answers] == ids
    assert all(f'"request_id":"{id_}"'.encode() in answer.body for id_, answer in zip(ids, answers, strict=True))
    assert all(log.getvalue().count(f"[{id_}]") == 1 for id_ in ids)


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


# API keys


@pytest.fixture
async def locked(make_settings: MakeSettings) -> AsyncIterator[str]:
    """The service with API keys and CORS."""
    async with serve(create_app(make_settings(api_keys=KEYS, cors_origins=(ORIGIN,), max_request_bytes=1000))) as url:
        yield url


GOOD = [
    {"Authorization": "Bearer first-key"},
    {"Authorization": "bearer first-key"},
    {"Authorization": "Bearer   first-key "},
    {"X-API-Key": "first-key"},
    {"X-API-Key": "schlüssel"},
    {"Authorization": "Basic abc", "X-API-Key": "first-key"},
    {"Authorization": "Bearer of-a-proxy", "X-API-Key": "first-key"},
]
NO_KEY = [
    {},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer "},
    {"Authorization": "Basic first-key"},
    {"Authorization": "first-key"},
    {"X-API-Key": ""},
    {"Cookie": "X-API-Key=first-key"},
]
WRONG_KEY = [
    {"Authorization": "Bearer wrong"},
    {"Authorization": "Bearer first-ke"},
    {"Authorization": "Bearer first-key2"},
    {"X-API-Key": "wrong"},
    {"X-API-Key": "FIRST-KEY"},
    {"X-API-Key": "first-key,schlüssel"},
]
NEEDS_KEY = "This call needs an API key, as `Authorization: Bearer` or `X-API-Key`."
NOT_VALID = "The API key is not valid."
KEYED = [
    ("GET", "/api/ollama/models"),
    ("POST", "/api/ollama/generate"),
    ("POST", "/api/ollama/chat"),
    ("POST", "/api/ollama/embeddings"),
    ("GET", "/api/ollama/nowhere"),
    ("GET", "/nowhere"),
    ("DELETE", "/api/ollama/generate"),
    ("GET", "/%61pi/ollama/models"),
    ("GET", "/api/ollama/models/"),
]


@pytest.mark.parametrize("headers", GOOD, ids=str)
async def test_a_valid_key_is_accepted(client: aiohttp.ClientSession, locked: str, headers: dict[str, str]) -> None:
    assert (await get(client, f"{locked}/api/ollama/models", headers=headers)).status == 200


@pytest.mark.parametrize(
    ("headers", "detail"), [(one, NEEDS_KEY) for one in NO_KEY] + [(one, NOT_VALID) for one in WRONG_KEY], ids=str
)
async def test_the_detail_tells_a_wrong_key_from_a_missing_one(
    client: aiohttp.ClientSession, locked: str, simulator: Simulator, headers: dict[str, str], detail: str
) -> None:
    answer = await post(client, locked, "generate", GENERATE, headers=headers)
    document = problem_in(answer, "unauthorized")
    assert document["detail"] == detail
    assert document["title"] == "An API key is required"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert simulator.calls_to("/api/generate") == []


@pytest.mark.parametrize(("method", "path"), KEYED)
async def test_every_api_path_needs_a_key_even_if_it_does_not_exist(
    client: aiohttp.ClientSession, locked: str, method: str, path: str
) -> None:
    problem_in(await call(client, method, URL(locked + path, encoded=True), allow_redirects=False), "unauthorized")


async def test_the_key_is_checked_before_the_body(client: aiohttp.ClientSession, locked: str) -> None:
    for body in (b"{", b"x" * 2000):
        answer = await call(client, "POST", f"{locked}/api/ollama/generate", data=body)
        problem_in(answer, "unauthorized")


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/health/live", "/openapi.json"])
async def test_probes_need_no_key(client: aiohttp.ClientSession, locked: str, path: str) -> None:
    assert (await get(client, locked + path)).status == 200


async def test_no_key_goes_upstream(client: aiohttp.ClientSession, locked: str, simulator: Simulator) -> None:
    headers = {"Authorization": "Bearer first-key", "X-API-Key": "first-key"}
    assert (await post(client, locked, "generate", GENERATE, headers=headers)).status == 200
    assert all("first-key" not in str(seen.headers) for seen in simulator.calls)


async def test_without_keys_none_is_needed(client: aiohttp.ClientSession, url: str) -> None:
    assert (await get(client, f"{url}/api/ollama/models", headers={"X-API-Key": "any"})).status == 200


# The limit of bodies


@pytest.fixture
async def narrow(make_settings: MakeSettings) -> AsyncIterator[str]:
    """The service with a limit of 1,000 bytes."""
    async with serve(create_app(make_settings(max_request_bytes=1000))) as url:
        yield url


def body_of(size: int) -> bytes:
    empty = len(json.dumps(GENERATE | {"prompt": ""}))
    return json.dumps(GENERATE | {"prompt": "x" * (size - empty)}).encode()


async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 300):
        yield body[at : at + 300]
        await asyncio.sleep(0)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("size", "fits"), [(999, True), (1000, True), (1001, False), (5000, False)])
@pytest.mark.parametrize("endpoint", ["generate", "nowhere"])
async def test_larger_bodies_are_rejected(
    client: aiohttp.ClientSession,
    narrow: str,
    simulator: Simulator,
    chunked: bool,
    size: int,
    fits: bool,
    endpoint: str,
) -> None:
    data = in_pieces(body_of(size)) if chunked else body_of(size)
    headers = {"Content-Type": "application/json"}
    answer = await call(client, "POST", f"{narrow}/api/ollama/{endpoint}", data=data, headers=headers)
    if endpoint == "nowhere" and (fits or chunked):
        problem_in(answer, "not_found")
    elif fits:
        assert answer.status == 200
    else:
        assert "MAX_REQUEST_BYTES" in problem_in(answer, "payload_too_large")["detail"]
        assert answer.headers["Connection"] == "close"
    assert len(simulator.calls_to("/api/generate")) == (fits and endpoint == "generate")


async def test_a_small_content_length_does_not_admit_a_large_body(narrow: str, simulator: Simulator) -> None:
    host, port = narrow.removeprefix("http://").split(":")
    body = body_of(5000)
    lengths = b"Content-Length: 10\r\nTransfer-Encoding: chunked\r\n"
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /api/ollama/generate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + lengths)
    writer.write(b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    async with asyncio.timeout(PATIENCE_SECONDS):
        status = await reader.readline()
    assert status.split()[1] in {b"400", b"413"}
    assert simulator.calls_to("/api/generate") == []
    writer.close()
    await writer.wait_closed()


async def test_a_too_large_content_length_is_rejected_without_the_body(narrow: str) -> None:
    host, port = narrow.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /api/ollama/generate HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
    async with asyncio.timeout(PATIENCE_SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.read()
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in head.lower()
    writer.close()
    await writer.wait_closed()


# CORS


async def test_without_origins_there_are_no_cors_headers(client: aiohttp.ClientSession, url: str) -> None:
    answer = await get(client, f"{url}/api/ollama/models", headers={"Origin": ORIGIN})
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


async def test_a_preflight_needs_no_key(client: aiohttp.ClientSession, locked: str) -> None:
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, x-api-key, x-request-id",
    }
    answer = await call(client, "OPTIONS", f"{locked}/api/ollama/generate", headers=headers)
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    assert all(name in allowed for name in ("authorization", "content-type", "x-api-key", "x-request-id"))
    assert answer.headers["X-Request-ID"]


@pytest.mark.parametrize("key", ["first-key", "wrong"])
async def test_responses_and_errors_have_cors_headers(client: aiohttp.ClientSession, locked: str, key: str) -> None:
    answer = await post(client, locked, "generate", GENERATE, headers={"Origin": ORIGIN, "X-API-Key": key})
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    exposed = answer.headers["Access-Control-Expose-Headers"].lower()
    assert all(name in exposed for name in ("x-request-id", "x-model", "x-model-fallback", "retry-after"))


async def test_another_origin_is_not_allowed(client: aiohttp.ClientSession, locked: str) -> None:
    theirs = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = await call(client, "OPTIONS", f"{locked}/api/ollama/generate", headers=theirs)
    assert answer.status == 400
    assert "Access-Control-Allow-Origin" not in answer.headers

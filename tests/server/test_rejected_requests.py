"""HTTP/1.1 requests that are rejected before the service sees them: invalid ones, and heads that are large or slow."""

import asyncio
import logging

import pytest

from main import create_app
from server import http_protocol
from server.observability.request_log import RequestLine
from server.uvicorn_options import UVICORN_OPTIONS
from simulator import Simulator
from tests.api import BODY, GENERATE_PATH
from tests.conftest import MakeSettings
from tests.raw_http import alive, connect, post_head
from tests.serving import serve

# Invalid requests


@pytest.mark.parametrize(
    "request_",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"FETCH / HTTP/1.1\r\n\r\n",
        b"GET /health/live HTTP/2.0\r\n\r\n",
        b"GET /health/live HTTP/0.9\r\n\r\n",
        b"CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nX-Folded: a\r\n b\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nX-Null: a\0b\r\n\r\n",
        b"GET /h\xc3\xa4lth HTTP/1.1\r\n\r\n",
        post_head(GENERATE_PATH, "Transfer-Encoding: chunked", length=3) + b"0\r\n\r\n",
        post_head(GENERATE_PATH, "Transfer-Encoding: gzip") + b"0\r\n\r\n",
        post_head(GENERATE_PATH, "Content-Length: 3", length=4) + b"abcd",
        post_head(GENERATE_PATH, "Transfer-Encoding: chunked") + b"z\r\n",
    ],
)
async def test_invalid_http_gets_a_problem_document(url: str, simulator: Simulator, request_: bytes) -> None:
    async with connect(url) as connection:
        await connection.send(request_)
        answer = await connection.answer()
        assert answer.status == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["connection"] == "close"
        document = answer.json()
        assert (document["code"], document["request_id"]) == ("bad_request", answer.headers["x-request-id"])
        assert await connection.is_closed()
    assert simulator.calls_to("/api/generate") == []


@pytest.mark.parametrize(
    ("head", "status", "error"),
    [
        (b"\0\1\2\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nX-Large: " + b"x" * 40_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nX-Slow: ", 408, "request_timeout"),
    ],
    ids=["invalid", "large", "slow"],
)
async def test_a_rejected_head_is_logged_with_the_client(
    url: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    head: bytes,
    status: int,
    error: str,
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.1 if status == 408 else 20)
    caplog.set_level(logging.INFO)
    async with connect(url) as connection:
        await connection.send(head)
        assert (await connection.answer()).status == status
    (record,) = [record for record in caplog.records if record.name == "server.http_protocol"]
    assert record.getMessage() == f"status={status} outcome=failed error={error} client=127.0.0.1"
    assert isinstance(record.msg, RequestLine)
    assert record.msg.summary == f"{status} failed"


async def test_a_request_before_an_invalid_one_is_served(url: str) -> None:
    async with connect(url) as connection:
        await connection.send(post_head(GENERATE_PATH, length=len(BODY)) + BODY + b"NONSENSE\r\n\r\n")
        answer = await connection.answer()
        assert (answer.status, answer.json()["success"]) == (200, True)
        assert await connection.is_closed()


# Limits of heads


@pytest.mark.parametrize(
    "head",
    [
        b"X-Large: " + b"x" * 40_000,
        b"X-Huge: " + b"x" * 3_000_000,
        b"\r\n".join(b"X-%d: x" % number for number in range(101)),
        b"\r\n".join(b"X-%d: %b" % (number, b"x" * 1000) for number in range(90)),
    ],
    ids=["large", "huge", "many", "many and large"],
)
async def test_large_heads_are_rejected(url: str, head: bytes) -> None:
    async with connect(url) as connection:
        sending = asyncio.create_task(connection.send(b"GET /health/live HTTP/1.1\r\n" + head + b"\r\n\r\n"))
        answer = await connection.answer()
        assert (answer.status, answer.json()["code"]) == (431, "headers_too_large")
        assert await connection.is_closed()
        await sending


async def test_a_long_path_is_rejected(url: str) -> None:
    async with connect(url) as connection:
        await connection.send(b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\n\r\n")
        assert (await connection.answer()).status == 431


async def test_a_head_within_the_limits_is_read_in_any_number_of_pieces(url: str) -> None:
    head = (
        b"GET /health/live HTTP/1.1\r\n" + b"\r\n".join(b"X-%d: %b" % (n, b"x" * 300) for n in range(99)) + b"\r\n\r\n"
    )
    async with connect(url) as connection:
        for at in range(0, len(head), 1000):
            await connection.send(head[at : at + 1000])
            await asyncio.sleep(0)
        assert (await connection.answer()).status == 200
        assert await alive(connection)


async def test_trailers_are_limited(url: str, simulator: Simulator) -> None:
    async with connect(url) as connection:
        await connection.send(post_head(GENERATE_PATH, "Transfer-Encoding: chunked") + b"1\r\n{\r\n0\r\n")
        sending = asyncio.create_task(connection.send(b"X-Huge: " + b"x" * 3_000_000))
        assert (await connection.answer()).status == 431
        await sending
    assert simulator.calls_to("/api/generate") == []


async def test_a_head_that_arrives_too_slowly_is_rejected(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.3)
    async with connect(url) as connection:

        async def drip() -> None:
            for byte in b"GET /health/live HTTP/1.1\r\nX-Slow: " + b"x" * 1000:
                await connection.send(bytes([byte]))
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        answer = await connection.answer()
        assert (answer.status, answer.json()["code"]) == (408, "request_timeout")
        assert await connection.is_closed()
        dripping.cancel()


@pytest.mark.parametrize("sent", [b"", b"\r\n"])
async def test_a_connection_without_requests_is_closed(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setitem(UVICORN_OPTIONS, "timeout_keep_alive", 1)
    async with serve(create_app(make_settings())) as url, connect(url) as connection:
        await connection.send(sent)
        assert await connection.is_closed()

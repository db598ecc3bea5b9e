"""Bodies larger than MAX_REQUEST_BYTES are rejected, with and without their length."""

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from main import create_app
from simulator import Simulator
from tests.api import GENERATE, call, problem_in
from tests.conftest import MakeSettings
from tests.kinds import PATIENCE_SECONDS
from tests.serving import serve


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

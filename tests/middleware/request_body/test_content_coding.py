"""Encoded request bodies: content codings, charsets and media types."""

import asyncio
import gzip
import io
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from middleware.request_body.content_coding import MAX_MEMBERS
from simulator import Simulator
from tests.api import BODY, GENERATE, GENERATE_PATH, JSON, call, problem_in
from tests.service_process import run_service


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


async def byte_by_byte(data: bytes) -> AsyncIterator[bytes]:
    for at in range(len(data)):
        yield data[at : at + 1]


CODED = [
    ("gzip", gzip.compress(BODY, mtime=0)),
    ("GZip", gzip.compress(BODY, mtime=0)),
    ("x-gzip", gzip.compress(BODY, mtime=0)),
    ("gzip", gzip.compress(BODY[:5], mtime=0) + gzip.compress(b"", mtime=0) + gzip.compress(BODY[5:], mtime=0)),
    ("deflate", zlib.compress(BODY)),
    ("deflate", raw_deflate(BODY)),
    ("identity", BODY),
    ("", BODY),
    ("identity, gzip", gzip.compress(BODY, mtime=0)),
]


@pytest.mark.parametrize(("coding", "data"), CODED)
@pytest.mark.parametrize("pieces", [False, True])
async def test_an_encoded_body_is_decoded(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, coding: str, data: bytes, pieces: bool
) -> None:
    headers = JSON | {"Content-Encoding": coding}
    answer = await call(
        client, "POST", url + GENERATE_PATH, data=byte_by_byte(data) if pieces else data, headers=headers
    )
    assert answer.status == 200, answer.body
    (seen,) = simulator.calls_to("/api/generate")
    assert seen.body["prompt"] == GENERATE["prompt"]
    assert "Content-Encoding" not in seen.headers


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "deflate, gzip", "nonsense"])
async def test_an_unsupported_coding_is_rejected_and_named(
    client: aiohttp.ClientSession, url: str, coding: str
) -> None:
    answer = await call(client, "POST", url + GENERATE_PATH, data=BODY, headers=JSON | {"Content-Encoding": coding})
    assert coding in problem_in(answer, "unsupported_media_type")["detail"]
    assert answer.headers["Accept-Encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    ("coding", "data", "words"),
    [
        ("gzip", BODY, "not valid gzip"),
        ("gzip", gzip.compress(BODY, mtime=0)[:-3], "is truncated"),
        ("gzip", gzip.compress(BODY, mtime=0) + b"garbage", "not valid gzip"),
        ("gzip", gzip.compress(b"", mtime=0) * (MAX_MEMBERS + 1), "members"),
        ("deflate", BODY, "not valid deflate"),
        ("deflate", b"x", "is truncated"),
        ("deflate", zlib.compress(BODY)[:-3], "is truncated"),
        ("deflate", zlib.compress(BODY) + b"garbage", "data after the end"),
    ],
)
async def test_an_invalid_encoded_body_is_rejected(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, coding: str, data: bytes, words: str
) -> None:
    answer = await call(client, "POST", url + GENERATE_PATH, data=data, headers=JSON | {"Content-Encoding": coding})
    document = problem_in(answer, "invalid_request")
    assert words in document["detail"]
    assert document["errors"] == [{"field": "body", "message": document["detail"]}]
    assert simulator.calls_to("/api/generate") == []


async def test_a_compression_bomb_is_stopped_at_the_limit(simulator: Simulator, tmp_path: Path) -> None:
    compressor = zlib.compressobj(1, wbits=31)
    bomb = b"".join(compressor.compress(bytes(1_000_000)) for _ in range(400)) + compressor.flush()
    assert len(bomb) < 2_000_000
    async with run_service(simulator.url, tmp_path) as service, aiohttp.ClientSession() as client:
        before = service.resident_kb
        headers = JSON | {"Content-Encoding": "gzip"}
        answers = [
            call(client, "POST", service.url + GENERATE_PATH, data=io.BytesIO(bomb), headers=headers) for _ in range(4)
        ]
        for answer in await asyncio.gather(*answers):
            problem_in(answer, "payload_too_large")
        assert service.resident_kb - before < 200_000


@pytest.mark.parametrize("charset", ["utf-16", "iso-8859-1", '"UTF-16LE"', "utf-32"])
async def test_an_unsupported_charset_is_rejected_and_named(
    client: aiohttp.ClientSession, url: str, charset: str
) -> None:
    headers = {"Content-Type": f"application/json; charset={charset}"}
    answer = await call(client, "POST", url + GENERATE_PATH, data=BODY, headers=headers)
    assert charset.strip('"') in problem_in(answer, "unsupported_media_type")["detail"]


@pytest.mark.parametrize("content_type", ["application/json; charset=UTF-8", 'application/json;charset="utf-8"'])
async def test_utf_8_may_be_declared_and_have_a_byte_order_mark(
    client: aiohttp.ClientSession, url: str, content_type: str
) -> None:
    for data in (BODY, b"\xef\xbb\xbf" + BODY):
        answer = await call(client, "POST", url + GENERATE_PATH, data=data, headers={"Content-Type": content_type})
        assert answer.status == 200, answer.body


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; a=b"]
)
async def test_another_content_type_gets_a_hint(client: aiohttp.ClientSession, url: str, content_type: str) -> None:
    answer = await call(client, "POST", url + GENERATE_PATH, data=BODY, headers={"Content-Type": content_type})
    assert "Content-Type: application/json" in problem_in(answer, "invalid_request")["detail"]

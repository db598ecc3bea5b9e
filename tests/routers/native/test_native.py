"""Ollama's own API: requests and responses pass through byte for byte."""

import io
import json
import re

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.api import call, get
from tests.conftest import MakeSettings
from tests.kinds import NATIVE_STREAM, NATIVES, Kind, see
from tests.routers.native.requests import CONTROL, every_kind
from tests.serving import serve

VOLATILE = re.compile(rb'"(created_at|expires_at|modified_at|\w+_duration)":("[^"]*"|\d+)')
LENGTH_AND_TYPE = {"Content-Length", "Content-Type"}


def settled(body: bytes) -> bytes:
    """Return a body without members that differ between calls."""
    return VOLATILE.sub(rb'"\1":0', body)


async def check_same(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, method: str, path: str, data: bytes | None
) -> None:
    """Check that the service responds like the simulator, and that the simulator saw the same request."""
    answers = []
    for base in (url, simulator.url):
        async with client.request(
            method, f"{base}{path}", data=data, headers={"Content-Type": "text/plain"}
        ) as response:
            answers.append((response.status, response.headers["Content-Type"], settled(await response.read())))
    assert answers[0] == answers[1]
    through, direct = simulator.calls_to(path)[-2:]
    assert (through.method, through.data) == (direct.method, direct.data)


# Bytes


@every_kind
async def test_responses_equal_ollamas(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    data = json.dumps(kind.body, indent=3).encode()
    await check_same(client, url, simulator, "POST", f"/api/{kind.path}", data)


@pytest.mark.parametrize("path", ["chat", "generate", "embed", "embeddings", "show"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[1, 2]",
        b"null",
        b"{}",
        b'{"model": "unknown", "messages": [{"role": "user", "content": "a"}]}',
        b'{"model": "Llama3.1:latest", "messages": [], "prompt": "", "tools": [], "format": "", "options": null}',
        b'{"MODEL": "llama3.1", "STREAM": false, "prompt": "a", "messages": [{"role": "user", "content": "\\ud83c"}]}',
        b'{"model": "llama3.1", "options": {"temperature": "hot"}, "messages": [{"content": "a"}], "prompt": "a"}',
        b'{"model": "nomic-embed-text", "prompt": "a", "input": 7, "messages": [{"content": "a"}]}',
    ],
    ids=["empty", "broken", "list", "null", "object", "unknown", "load", "cases", "option", "input"],
)
async def test_invalid_requests_get_ollamas_own_error(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, path: str, data: bytes
) -> None:
    await check_same(client, url, simulator, "POST", f"/api/{path}", data)


@pytest.mark.parametrize("path", ["/api/tags", "/api/ps", "/api/version"])
async def test_endpoints_that_run_no_model(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, path: str
) -> None:
    await check_same(client, url, simulator, "GET", path, None)
    head = await call(client, "HEAD", url + path)
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "text/plain", None])
async def test_without_stream_the_response_is_ndjson_for_any_accept(
    client: aiohttp.ClientSession, url: str, accept: str | None
) -> None:
    body = {"model": "llama3.1", "prompt": "Hi"}
    answer = await call(client, "POST", f"{url}/api/generate", json=body, headers={"Accept": accept} if accept else {})
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.headers["X-Accel-Buffering"] == "no"
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]


async def test_a_stream_arrives_as_it_is_written(simulator: Simulator, client: aiohttp.ClientSession, url: str) -> None:
    simulator.fault(Fault(stall_after=3))
    async with client.post(f"{url}/api/chat", json=NATIVES[1].body) as response:
        body = b""
        while body.count(b"\n") < 3:
            body += await response.content.readany()
    assert (await simulator.received("/api/chat")).status == 200


@pytest.mark.parametrize("size", [100_000, 3_000_000])
@pytest.mark.parametrize("stream", [True, False])
async def test_long_lines_are_passed_on(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, size: int, stream: bool
) -> None:
    simulator.fault(Fault(line_bytes=size))
    answer = await call(
        client, "POST", f"{url}/api/generate", json={"model": "llama3.1", "prompt": "a", "stream": stream}
    )
    last = json.loads(answer.body.splitlines()[-1])
    assert last["done"] is True
    assert len(answer.body) >= size


@every_kind
@pytest.mark.parametrize("content_type", ["application/x-ndjson", "application/json; charset=utf-8", "text/html"])
@pytest.mark.parametrize(
    "body", [b"", b"\x00\xff {broken\r\n\r\n", b"0\r\n\r\n" * 50_000], ids=["none", "some", "much"]
)
async def test_responses_are_not_parsed(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind, content_type: str, body: bytes
) -> None:
    simulator.fault(Fault(body=body, content_type=content_type))
    seen = await see(kind.ask(client, url))
    assert (seen.status, seen.headers["Content-Type"], seen.body, seen.cut) == (200, content_type, body, False)


async def test_a_large_response_to_a_large_body_is_complete(
    simulator: Simulator, client: aiohttp.ClientSession, url: str
) -> None:
    data = json.dumps({"model": "nomic-embed-text", "input": ["word"] * 320}).encode() + b" " * 2_000_000
    async with client.post(f"{url}/api/embed", data=io.BytesIO(data)) as response:
        answer = await response.read()
    assert len(answer) > 2_000_000
    assert len(json.loads(answer)["embeddings"]) == 320
    assert simulator.calls_to("/api/embed")[0].data == data


async def test_a_gzipped_body_is_sent_decompressed(
    simulator: Simulator, client: aiohttp.ClientSession, url: str
) -> None:
    async with client.post(f"{url}/api/embed", json=NATIVES[4].body, compress=True) as response:
        assert response.status == 200
    seen = simulator.calls_to("/api/embed")[0]
    assert seen.body == NATIVES[4].body
    assert "Content-Encoding" not in seen.headers


@pytest.mark.parametrize("fields", ['"images": ["aGk="]', '"stream": false'])
async def test_a_body_with_too_many_values_is_sent_without_being_parsed(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, fields: str
) -> None:
    await get(client, f"{url}/api/ollama/models")
    data = b'{"model": "llama3.1", "prompt": "a", %b, "a": [' % fields.encode() + b"[]," * 200_000 + b"[]]}"
    simulator.fault(Fault(endless=True))
    async with NATIVE_STREAM.ask(client, url) as endless:  # while it runs, complete responses are streamed and joined
        await endless.content.readany()
        assert (await call(client, "POST", f"{url}/api/generate", data=data)).status == 200
        endless.close()
    assert simulator.calls_to("/api/generate")[-1].data == data


# Headers


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/chat"), *CONTROL])
async def test_no_header_of_the_client_is_sent_upstream(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, method: str, path: str
) -> None:
    headers = {
        "Cookie": "a=b",
        "Origin": "http://localhost",
        "X-Any": "c",
        "Content-Type": "text/plain",
        "Accept": "d/e",
    }
    async with serve(create_app(make_settings(ollama_api_key="upstreams-own"))) as url:
        data = b'{"model": "llama3.1"}' if method == "POST" else None
        async with client.request(method, f"{url}{path}?query=1", data=data, headers=headers) as response:
            assert response.status == 200
    seen = simulator.calls_to(path)[-1]
    sent = {name: value for name, value in seen.headers.items() if name not in {"Host", "Content-Length"}}
    expected = {"Accept": "*/*", "Authorization": "Bearer upstreams-own"}
    expected |= {"Content-Type": "application/json"} if data else {}
    assert {name: value for name, value in sent.items() if name != "User-Agent"} == expected


@every_kind
async def test_only_content_type_and_length_are_passed_back(
    client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    seen = await see(kind.ask(client, url))
    names = set(seen.headers) - {"date", "Date", "server", "Server", "X-Request-ID", "x-request-id"}
    names = {name.title() for name in names}
    if kind.is_stream:
        assert names <= {"Content-Type", "Transfer-Encoding", "Cache-Control", "X-Accel-Buffering", "Content-Length"}
    else:
        assert names == LENGTH_AND_TYPE
    assert seen.headers["X-Request-ID"]

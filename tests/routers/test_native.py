"""Ollama's own API: requests and responses pass through byte for byte."""

import io
import json
import re
from typing import Any

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.api import call, get
from tests.conftest import MakeSettings
from tests.kinds import NATIVE_STREAM, NATIVES, Kind, see
from tests.raw_http import connect, post_head
from tests.serving import serve

VOLATILE = re.compile(rb'"(created_at|expires_at|modified_at|\w+_duration)":("[^"]*"|\d+)')
CONTROL = [("POST", "/api/show"), ("GET", "/api/tags"), ("GET", "/api/ps"), ("GET", "/api/version")]
MANAGEMENT_PATHS = [
    ("POST", "/api/pull"),
    ("POST", "/api/push"),
    ("POST", "/api/create"),
    ("POST", "/api/copy"),
    ("DELETE", "/api/delete"),
    ("POST", "/api/blobs/sha256:29fdb92e57cf0827ded04ae6461b5931d01fa595843f55d36f5b275a52087dd2"),
    ("HEAD", "/api/blobs/sha256:29fdb92e57cf0827ded04ae6461b5931d01fa595843f55d36f5b275a52087dd2"),
]
LENGTH_AND_TYPE = {"Content-Length", "Content-Type"}
every_kind = pytest.mark.parametrize("kind", NATIVES, ids=lambda kind: kind.name)


def error_in(body: bytes) -> str:
    """Return the message of an error in Ollama's format."""
    document = json.loads(body)
    assert list(document) == ["error"]
    text = document["error"]
    assert isinstance(text, str)
    return text


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


# Other paths and methods


@pytest.mark.parametrize(("method", "path"), MANAGEMENT_PATHS)
async def test_management_endpoints_are_403(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, method: str, path: str
) -> None:
    answer = await call(client, method, url + path, json={"model": "llama3.1"})
    assert answer.status == 403
    assert answer.headers["Content-Type"] == "application/json"
    if method != "HEAD":
        assert "does not manage models" in error_in(answer.body)
    assert simulator.calls_to(path) == []


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/status", "/api/chats", "/api/chat/more", "/api/me"])
async def test_other_paths_list_the_available_endpoints(client: aiohttp.ClientSession, url: str, path: str) -> None:
    answer = await get(client, url + path)
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/json")
    assert "POST /api/chat" in error_in(answer.body)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", "/api/chat", "POST"), ("POST", "/api/tags", "GET, HEAD"), ("DELETE", "/api/embed", "POST")],
)
async def test_other_methods(client: aiohttp.ClientSession, url: str, method: str, path: str, allow: str) -> None:
    answer = await call(client, method, url + path)
    assert (answer.status, answer.headers["Allow"]) == (405, allow)
    assert error_in(answer.body)


@pytest.mark.parametrize("path", ["/api/ollama/nowhere", "/api/ollama", "/nowhere", "/apis/chat"])
async def test_errors_on_other_paths_are_problem_documents(client: aiohttp.ClientSession, url: str, path: str) -> None:
    answer = await get(client, url + path)
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/problem+json")


async def test_head_of_the_root(client: aiohttp.ClientSession, url: str) -> None:
    answer = await call(client, "HEAD", url)
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("prefix", ["", "/backend"])
async def test_the_error_format_under_a_prefix(
    make_settings: MakeSettings, client: aiohttp.ClientSession, prefix: str
) -> None:
    app = create_app(make_settings())
    app.root_path = prefix
    async with serve(app) as url:
        assert "path does not exist" in error_in((await get(client, f"{url}{prefix}/api/nowhere")).body)
        assert (await get(client, f"{url}{prefix}/api/tags")).status == 200


async def test_the_api_can_be_disabled(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    async with serve(create_app(make_settings(ollama_api_enabled=False))) as url:
        for kind in NATIVES:
            seen = await see(kind.ask(client, url))
            assert seen.status == 404
            assert "OLLAMA_API_ENABLED" in error_in(seen.body)
        for method, path in (*CONTROL, *MANAGEMENT_PATHS):
            assert (await call(client, method, url + path)).status == 404
        assert (await get(client, f"{url}/api/ollama/models")).status == 200
        assert "/api/chat" not in (await get(client, f"{url}/openapi.json")).json()["paths"]
    assert {seen.path for seen in simulator.calls} <= {"/api/tags", "/api/version"}


# Rejected by the service


async def test_api_keys_are_required(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    paths = (
        [("POST", f"/api/{kind.path}") for kind in NATIVES]
        + CONTROL
        + MANAGEMENT_PATHS
        + [("GET", "/api/nowhere"), ("GET", "/api/")]
    )
    async with serve(create_app(make_settings(api_keys="correct-horse"))) as url:
        await simulator.received("/api/tags")  # at startup
        before = len(simulator.calls)
        for method, path in paths:
            for headers in ({}, {"Authorization": "Bearer wrong"}):
                answer = await call(client, method, url + path, headers=headers)
                assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
                if method != "HEAD":
                    assert "API key" in error_in(answer.body)
        assert len(simulator.calls) == before
        for headers in ({"Authorization": "Bearer correct-horse"}, {"X-API-Key": "correct-horse"}):
            answer = await call(client, "POST", f"{url}/api/chat", json=NATIVES[0].body, headers=headers)
            assert answer.status == 200
        assert (await call(client, "HEAD", url)).status == 200


@every_kind
async def test_bodies_are_limited(make_settings: MakeSettings, client: aiohttp.ClientSession, kind: Kind) -> None:
    async with serve(create_app(make_settings(max_request_bytes=1000))) as url:
        seen = await see(kind.ask(client, url, more="x" * 1000))
        assert seen.status == 413
        assert "MAX_REQUEST_BYTES" in error_in(seen.body)


async def test_a_body_that_does_not_arrive_is_408(make_settings: MakeSettings, client: aiohttp.ClientSession) -> None:
    del client
    async with serve(create_app(make_settings(request_body_timeout=0.1))) as url, connect(url) as connection:
        await connection.send(post_head("/api/chat", length=100) + b'{"model"')
        answer = await connection.answer()
    assert answer.status == 408
    assert "REQUEST_BODY_TIMEOUT" in error_in(answer.body)


# Constants


def sent(simulator: Simulator, kind: Kind) -> Any:
    return simulator.calls_to(kind.upstream)[-1].body


@every_kind
async def test_constants_are_added_to_every_request(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    settings = make_settings(ollama_num_ctx=2048, ollama_keep_alive="10m")
    async with serve(create_app(settings)) as url:
        await see(kind.ask(client, url))
        assert sent(simulator, kind) == kind.body | {"options": {"num_ctx": 2048}, "keep_alive": "10m"}
        await see(kind.ask(client, url, options={"num_ctx": 131_072, "seed": 7}, keep_alive=0))
        assert sent(simulator, kind) == kind.body | {"options": {"num_ctx": 2048, "seed": 7}, "keep_alive": 0}
        await see(kind.ask(client, url, options=None, keep_alive=None))
        assert sent(simulator, kind) == kind.body | {"options": {"num_ctx": 2048}, "keep_alive": "10m"}


async def test_constants_replace_fields_in_any_case(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    body = {"model": "llama3.1", "Options": {"num_ctx": 1, "seed": 1}, "OPTIONS": {"seed": 2}, "Keep_Alive": "1m"}
    async with serve(create_app(make_settings(ollama_num_ctx=2048, ollama_keep_alive="10m"))) as url:
        assert (await call(client, "POST", f"{url}/api/generate", json=body)).status == 200
    expected = {"model": "llama3.1", "Keep_Alive": "1m", "options": {"num_ctx": 2048, "seed": 2}}
    assert simulator.calls_to("/api/generate")[0].body == expected


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"7", b'{"options": [1]}', b'{"model": "x"} more'])
async def test_bodies_that_cannot_have_constants_are_sent_unchanged(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, data: bytes
) -> None:
    async with serve(create_app(make_settings(ollama_num_ctx=2048))) as url:
        await call(client, "POST", f"{url}/api/chat", data=data)
    seen = simulator.calls_to("/api/chat")[0]
    assert seen.data in {data, data.replace(b" ", b"")}


async def test_no_constants_are_added_to_show(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    async with serve(create_app(make_settings(ollama_num_ctx=2048, ollama_keep_alive="10m"))) as url:
        await call(client, "POST", f"{url}/api/show", json={"model": "llama3.1"})
    assert simulator.calls_to("/api/show")[0].body == {"model": "llama3.1"}


async def test_with_constants_a_body_with_too_many_values_is_rejected(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    bomb = b'{"model": "llama3.1", "a": [' + b"[]," * 200_000 + b"[]]}"
    deep = b'{"model": "llama3.1", "a": ' + b"[" * 600 + b"]" * 600 + b"}"
    async with serve(create_app(make_settings(ollama_num_ctx=2048))) as url:
        refused = await call(client, "POST", f"{url}/api/chat", data=bomb)
        assert (refused.status, simulator.calls_to("/api/chat")) == (413, [])
        assert error_in(refused.body)
        refused = await call(client, "POST", f"{url}/api/chat", data=deep)
        assert (refused.status, error_in(refused.body)) == (422, "The request is nested too deeply.")
    async with serve(create_app(make_settings())) as url:
        await call(client, "POST", f"{url}/api/chat", data=bomb)
        assert simulator.calls_to("/api/chat")[-1].data == bomb

"""Responses sent before the body is read reach clients that are still sending it."""

import asyncio
import http.client
import shutil
import subprocess
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from main import create_app
from middleware.request_body import unread as unread_body
from tests.conftest import MakeSettings
from tests.raw_http import connect, post_head
from tests.serving import serve

KEY = "a-key"
SIZE = 12_000_000  # more than the buffers of a connection hold
MAX_BYTES = 10_000_000
CASES = [
    ("/api/ollama/generate", "wrong", {401}),
    ("/api/ollama/generate", KEY, {413}),
    ("/api/ollama/nowhere", KEY, {404, 413}),  # the length is looked at first, where it is announced
    ("/api/ollama/models", KEY, {405, 413}),
]
Ask = Callable[[str, str, bool], int]


@pytest.fixture
async def locked(make_settings: MakeSettings) -> AsyncIterator[str]:
    """The service with an API key."""
    async with serve(create_app(make_settings(api_keys=KEY, max_request_bytes=MAX_BYTES))) as url:
        yield url


def pieces(size: int) -> Iterator[bytes]:
    for _ in range(size // 100_000):
        yield b"x" * 100_000


def by_urllib(url: str, key: str, chunked: bool) -> int:
    data = pieces(SIZE) if chunked else b"x" * SIZE
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method="POST")  # noqa: S310 - loopback
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(request, timeout=20)
    with caught.value as response:
        assert b"request_id" in response.read()
        return response.code


def by_http_client(url: str, key: str, chunked: bool) -> int:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=20)
    body = pieces(SIZE) if chunked else b"x" * SIZE
    connection.request("POST", address.path, body, {"X-API-Key": key}, encode_chunked=chunked)
    with connection.getresponse() as response:
        assert b"request_id" in response.read()
        status = response.status
    connection.close()
    return status


def by_curl(url: str, key: str, chunked: bool) -> int:
    command = ["curl", "-sS", "--noproxy", "*", "-w", "\n%{http_code}", "-H", f"X-API-Key: {key}", "-H", "Expect:"]
    if chunked:
        command += ["-H", "Transfer-Encoding: chunked"]
    done = subprocess.run(
        [*command, "--data-binary", "@-", url], input=b"x" * SIZE, capture_output=True, timeout=20, check=True
    )
    body, _, status = done.stdout.rpartition(b"\n")
    assert b"request_id" in body
    return int(status)


NODE = """
    const [url, key, size, chunked] = process.argv.slice(1);
    const bytes = new Uint8Array(Number(size));
    const body = chunked === "true" ? new Blob([bytes]).stream() : bytes;
    const headers = { "X-API-Key": key };
    const response = await fetch(url, { method: "POST", headers, body, duplex: "half" });
    console.log(response.status, (await response.json()).code);
"""


def by_node(url: str, key: str, chunked: bool) -> int:
    command = ["node", "--input-type=module", "-e", textwrap.dedent(NODE), url, key, str(SIZE), str(chunked).lower()]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[0])


@pytest.mark.parametrize("ask", [by_urllib, by_http_client, by_curl, by_node])
@pytest.mark.parametrize("chunked", [False, True])
async def test_an_early_response_reaches_a_client_that_sends_its_body_first(
    locked: str, ask: Ask, chunked: bool
) -> None:
    program = ask.__name__.removeprefix("by_")
    if program in {"curl", "node"} and shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    for path, key, statuses in CASES:
        assert await asyncio.to_thread(ask, locked + path, key, chunked) in statuses, path


JAVA = """
    import java.io.ByteArrayInputStream;
    import java.net.URI;
    import java.net.http.*;

    public class Send {
        public static void main(String[] arguments) throws Exception {
            var bytes = new byte[Integer.parseInt(arguments[1])];
            var announced = HttpRequest.BodyPublishers.ofByteArray(bytes);
            var chunked = HttpRequest.BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(bytes));
            for (var key : new String[] {arguments[2], arguments[3]}) {
                for (var version : HttpClient.Version.values()) {
                    for (var body : new HttpRequest.BodyPublisher[] {announced, chunked}) {
                        var client = HttpClient.newBuilder().version(version).build();
                        var request = HttpRequest.newBuilder(URI.create(arguments[0]))
                            .header("X-API-Key", key).POST(body).build();
                        System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
                    }
                }
            }
        }
    }
"""


@pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed")
async def test_an_early_response_reaches_java(locked: str, tmp_path: Path) -> None:
    source = tmp_path / "Send.java"
    source.write_text(textwrap.dedent(JAVA))
    command = ["java", str(source), f"{locked}/api/ollama/generate", str(SIZE), "wrong", KEY]
    done = await asyncio.to_thread(
        lambda: subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    )
    assert done.stdout.split() == ["401"] * 4 + ["413"] * 4, done.stderr


@pytest.mark.parametrize("head", [("Expect: 100-continue",), ()])
async def test_a_body_that_does_not_arrive_is_not_awaited(locked: str, head: tuple[str, ...]) -> None:
    async with connect(locked) as connection:
        await connection.send(post_head("/api/ollama/generate", *head, length=10_000_000))
        answer = await connection.answer()
        assert answer.status == 401
        assert answer.headers["connection"] == "close"
        assert await connection.is_closed()


async def test_an_endless_body_is_not_read_for_ever(locked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread_body, "MAX_SECONDS", 0.5)
    async with connect(locked) as connection:
        await connection.send(post_head("/api/ollama/generate", "Transfer-Encoding: chunked"))
        assert (await connection.answer()).status == 401
        started_at = time.monotonic()
        with pytest.raises(ConnectionError):
            while True:
                await connection.send(b"1\r\nx\r\n")
                await asyncio.sleep(0.01)
        assert time.monotonic() - started_at < 10


async def test_a_small_unread_body_keeps_the_connection_open(locked: str) -> None:
    async with connect(locked) as connection:
        for _ in range(3):
            await connection.send(post_head("/api/ollama/generate", length=2000))
            answer = await connection.answer()
            assert (answer.status, "connection" in answer.headers) == (401, False)
            await connection.send(b"x" * 2000)
        await connection.send(b"GET /health/live HTTP/1.1\r\nHost: service\r\n\r\n")
        assert (await connection.answer()).status == 200

"""Valid HTTP/1.1 requests: upgrade headers, HTTP/1.0, and unusual forms."""

import asyncio
import json
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

from simulator import Fault, Simulator
from tests.api import BODY, GENERATE, GENERATE_PATH
from tests.raw_http import alive, connect, post_head
from tests.service_process import run_service

STREAM = json.dumps(GENERATE | {"stream": True}).encode()
OFFERS = [
    ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"),
    ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAA"),
    ("Connection: upgrade", "Upgrade: TLS/1.0, HTTP/2.0"),
    ("Connection: keep-alive, Upgrade", "Upgrade: foo/2", "Upgrade: bar"),
    ("Connection: Upgrade",),
    ("Upgrade: h2c",),
]


@pytest.mark.parametrize("offer", OFFERS, ids=str)
@pytest.mark.parametrize("pieces", ["together", "apart", "chunked", "byte by byte"])
async def test_an_upgrade_header_is_ignored(
    url: str, simulator: Simulator, offer: tuple[str, ...], pieces: str
) -> None:
    async with connect(url) as connection:
        if pieces == "chunked":
            head, body = post_head(GENERATE_PATH, *offer, "Transfer-Encoding: chunked"), b"%x\r\n%b\r\n0\r\n\r\n"
            body %= (len(BODY), BODY)
        else:
            head, body = post_head(GENERATE_PATH, *offer, length=len(BODY)), BODY
        if pieces == "together":
            await connection.send(head + body)
        elif pieces == "byte by byte":
            for byte in head + body:
                await connection.send(bytes([byte]))
                await asyncio.sleep(0)
        else:
            await connection.send(head)
            await asyncio.sleep(0.05)
            await connection.send(body)
        answer = await connection.answer()
        assert answer.status == 200, answer.body
        assert answer.json()["response"]
        assert await alive(connection)
    assert [call.body["prompt"] for call in simulator.calls_to("/api/generate")] == [GENERATE["prompt"]]


async def test_a_streamed_request_with_an_upgrade_header_is_served(url: str) -> None:
    async with connect(url) as connection:
        await connection.send(post_head(GENERATE_PATH, *OFFERS[0], length=len(STREAM)) + STREAM)
        answer = await connection.answer()
        assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
        assert answer.body
        assert await alive(connection)


async def test_pipelined_requests_with_upgrade_headers_are_served_in_order(url: str) -> None:
    request = "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nX-Request-ID: {}\r\n\r\n"
    async with connect(url) as connection:
        await connection.send("".join(request.format(number) for number in range(500)).encode())
        ids = [(await connection.answer()).headers["x-request-id"] for _ in range(500)]
    assert ids == [str(number) for number in range(500)]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("options", [["--http2"], ["--http1.0"], ["--http1.1", "-H", "Expect: 100-continue"]], ids=str)
async def test_curl_is_served(url: str, options: list[str]) -> None:
    command = ["curl", "-sS", "--noproxy", "*", *options, "-d", BODY.decode(), "-H", "Content-Type: application/json"]
    done = await asyncio.to_thread(
        subprocess.run, [*command, url + GENERATE_PATH], capture_output=True, timeout=20, check=True
    )
    assert json.loads(done.stdout)["success"] is True


JAVA = """
    import java.net.URI;
    import java.net.http.*;

    public class Ask {
        public static void main(String[] arguments) throws Exception {
            var client = HttpClient.newHttpClient();
            for (int i = 0; i < 3; i++) {
                var request = HttpRequest.newBuilder(URI.create(arguments[0]))
                    .header("Content-Type", "application/json")
                    .POST(HttpRequest.BodyPublishers.ofString(arguments[1])).build();
                System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
            }
        }
    }
"""


@pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed")
async def test_java_is_served(url: str, tmp_path: Path) -> None:
    source = tmp_path / "Ask.java"
    source.write_text(textwrap.dedent(JAVA))
    command = ["java", "-XX:TieredStopAtLevel=1", str(source), url + GENERATE_PATH, BODY.decode()]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["200", "200", "200"], done.stderr


# HTTP/1.0


@pytest.mark.parametrize("headers", [b"", b"Connection: keep-alive\r\n", b"Expect: 100-continue\r\n"])
@pytest.mark.parametrize("body", [BODY, STREAM])
async def test_http_1_0_responses_are_not_chunked(url: str, headers: bytes, body: bytes) -> None:
    head = b"POST /api/ollama/generate HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    async with connect(url) as connection:
        await connection.send(head + headers + b"\r\n" + body)
        answer = await connection.answer()
        assert answer.status == 200
        assert "transfer-encoding" not in answer.headers
        assert answer.headers["connection"] == "close"
        assert answer.body
        assert await connection.is_closed()


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
async def test_an_http_1_0_client_can_detect_a_truncated_stream(url: str, simulator: Simulator, version: bytes) -> None:
    simulator.fault(Fault(end_after=3))
    async with connect(url) as connection:
        head = post_head(GENERATE_PATH, length=len(STREAM)).replace(b"HTTP/1.1", version)
        await connection.send(head + STREAM)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await connection.answer()


# Unusual but valid requests


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"\r\n\r\nGET /health/live HTTP/1.1", 200),
        (b"GET http://elsewhere.example/health/live?x=1 HTTP/1.1", 200),
        (b"GET http://elsewhere.example HTTP/1.1", 200),
        (b"OPTIONS * HTTP/1.1", 404),
        (b"QUERY /health/live HTTP/1.1", 405),
        (b"GET /health/l%69ve HTTP/1.1", 200),
    ],
)
async def test_an_unusual_but_valid_request_is_served(url: str, head: bytes, status: int) -> None:
    async with connect(url) as connection:
        await connection.send(head + b"\r\nHost: service\r\n\r\n")
        assert (await connection.answer()).status == status
        assert await alive(connection)


async def test_empty_lines_between_requests_are_skipped(url: str) -> None:
    async with connect(url) as connection:
        for _ in range(3):
            assert await alive(connection)
            await connection.send(b"\r\n")
            await asyncio.sleep(0.01)


async def test_trailers_are_not_headers(url: str) -> None:
    chunk = b"%x\r\n%b\r\n0\r\nX-Request-ID: from-a-trailer\r\n\r\n" % (len(BODY), BODY)
    async with connect(url) as connection:
        await connection.send(post_head(GENERATE_PATH, "Transfer-Encoding: chunked") + chunk)
        answer = await connection.answer()
        assert answer.status == 200
        assert answer.headers["x-request-id"] != "from-a-trailer"


async def test_main_py_ignores_upgrade_headers(simulator: Simulator, tmp_path: Path) -> None:
    async with run_service(simulator.url, tmp_path) as service, connect(service.url) as connection:
        await connection.send(post_head(GENERATE_PATH, *OFFERS[0], length=len(BODY)) + BODY)
        assert (await connection.answer()).status == 200

"""Pooled connections: which are reused, and responses that match their requests."""

import asyncio
import itertools
import json
import random
import ssl
from pathlib import Path

import pytest

from services.ollama.client import OllamaClient
from services.ollama.errors import (
    OllamaResponseError,
    RejectedByOllamaError,
)
from services.upstream import client_options
from tests.conftest import MakeSettings
from tests.services.ollama.client_calls import ANSWER, PATH, answering, listening, whole

pytestmark = pytest.mark.every_loop
CERTIFICATE = Path(__file__).parent / "tls" / "localhost.pem"


@pytest.fixture
def server_tls(monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A TLS context for a server that aiohttp trusts during the test."""
    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 OK\r\nContent-Ty", b"HTTP/1.1 102 Processing\r\n\r\n", b"H"])
async def test_a_request_whose_response_has_begun_is_not_sent_again(make_settings: MakeSettings, begun: bytes) -> None:
    asked = 0

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while await reader.readuntil(b"}"):
            asked += 1
            if asked == 2:
                writer.write(begun)
                return
            writer.write(ANSWER)

    async with listening(respond) as url, OllamaClient(client_options(make_settings(ollama_base_url=url))) as transport:
        await whole(transport)
        with pytest.raises(OllamaResponseError):
            await whole(transport)
        assert asked == 2
        assert await whole(transport) == {"done": True}


async def test_a_connection_that_dies_after_a_second_is_not_replaced(make_settings: MakeSettings) -> None:
    """By then the request may have run."""
    asked = 0

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while await reader.readuntil(b"}"):
            asked += 1
            if asked == 2:
                await asyncio.sleep(1.1)
                return
            writer.write(ANSWER)

    async with listening(respond) as url, OllamaClient(client_options(make_settings(ollama_base_url=url))) as transport:
        await whole(transport)
        with pytest.raises(OllamaResponseError, match="closed the connection before its response"):
            await whole(transport)
        assert asked == 2
        assert await whole(transport) == {"done": True}


async def test_unsolicited_bytes_are_not_taken_for_a_response(make_settings: MakeSettings) -> None:
    connections = 0

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"}")
        writer.write(ANSWER)
        await asyncio.sleep(0.02)
        writer.write(ANSWER.replace(b"true", b"evil"))
        await reader.read()

    async with listening(respond) as url, OllamaClient(client_options(make_settings(ollama_base_url=url))) as transport:
        for _ in range(2):
            assert await whole(transport) == {"done": True}
            await asyncio.sleep(0.05)
    assert connections == 2


async def test_responses_are_not_mixed_up_after_many_cancellations(make_settings: MakeSettings) -> None:
    chance = random.Random(7)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            body = await reader.readexactly(int(head.split(b"Content-Length: ")[1].split()[0]))
            for piece in (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body[:5], body[5:]):
                await asyncio.sleep(chance.random() / 500)
                if writer.is_closing():  # uvloop raises a different error when writing to it
                    return
                writer.write(piece)

    async def ask(transport: OllamaClient, number: int) -> int | None:
        try:
            async with asyncio.timeout(chance.random() / 60 if number % 10 else 10):
                answer = await transport.post(PATH, {"number": number})
        except TimeoutError:
            return None
        assert answer == {"number": number}
        return number

    async with listening(echo) as url, OllamaClient(client_options(make_settings(ollama_base_url=url))) as transport:
        answered = 0
        for round_ in range(30):
            found = await asyncio.gather(*(ask(transport, 10 * round_ + one) for one in range(10)))
            answered += len([number for number in found if number is not None])
        assert 30 <= answered < 270
        assert await transport.post(PATH, {"number": 300}) == {"number": 300}


@pytest.mark.parametrize("status", [100, 102, 103, 104, 199])
async def test_responses_are_not_mixed_up_after_an_informational_response(
    make_settings: MakeSettings, status: int
) -> None:
    numbers = itertools.count(1)

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(int(head.split(b"Content-Length: ")[1].split()[0]))
            writer.write(b"HTTP/1.1 %d Wait\r\n\r\n" % status)
            await asyncio.sleep(0.02)
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"number":%d}' % next(numbers))

    async with listening(respond) as url, OllamaClient(client_options(make_settings(ollama_base_url=url))) as transport:
        assert [await whole(transport) for _ in range(3)] == [{"number": number} for number in (1, 2, 3)]


async def test_an_informational_response_is_skipped(make_settings: MakeSettings) -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    async with (
        answering(early + ANSWER) as url,
        OllamaClient(client_options(make_settings(ollama_base_url=url))) as transport,
    ):
        assert await whole(transport) == {"done": True}


async def test_switching_protocols_is_an_invalid_response(make_settings: MakeSettings) -> None:
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(upgrade)
        assert await reader.read() == b""  # until the connection is closed from the other side

    async with listening(respond) as url, OllamaClient(client_options(make_settings(ollama_base_url=url))) as transport:
        with pytest.raises(OllamaResponseError, match="status 101"):
            await whole(transport)


async def test_a_response_may_end_with_the_connection(make_settings: MakeSettings) -> None:
    answer = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"done":true}'
    async with answering(answer) as url, OllamaClient(client_options(make_settings(ollama_base_url=url))) as transport:
        assert await whole(transport) == {"done": True}
        assert await whole(transport) == {"done": True}


@pytest.mark.parametrize("has_tls", [False, True])
async def test_an_unread_body_is_dropped_with_its_request(
    make_settings: MakeSettings, server_tls: ssl.SSLContext, has_tls: bool
) -> None:
    size, received = 50_000_000, 0
    has_begun, is_given_up = asyncio.Event(), asyncio.Event()

    async def dawdle(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await reader.readexactly(10)
        has_begun.set()
        await is_given_up.wait()
        while data := await reader.read(1 << 20):
            received += len(data)

    async with (
        listening(dawdle, server_tls if has_tls else None) as url,
        OllamaClient(client_options(make_settings(ollama_base_url=url))) as transport,
    ):
        request = asyncio.create_task(transport.post(PATH, {"prompt": "x" * size}))
        await has_begun.wait()
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        is_given_up.set()
    assert 0 < received < size


@pytest.mark.parametrize("has_tls", [False, True])
async def test_a_connection_with_a_partial_request_is_not_reused(
    make_settings: MakeSettings, server_tls: ssl.SSLContext, has_tls: bool
) -> None:
    answers = iter(
        [
            b'HTTP/1.1 400 Bad Request\r\nContent-Length: 18\r\n\r\n{"error":"no way"}',
            ANSWER,
        ]
    )

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(next(answers))
        await reader.read()

    async with listening(respond, server_tls if has_tls else None) as url:
        settings = make_settings(ollama_base_url=url, ollama_request_timeout=10)
        async with OllamaClient(client_options(settings)) as transport:
            with pytest.raises(RejectedByOllamaError):
                await transport.post(PATH, {"prompt": "x" * 20_000_000})
            assert await whole(transport) == {"done": True}


@pytest.mark.parametrize("size", [0, 100, 65_500, 65_536, 65_537, 5_000_000])
@pytest.mark.parametrize("has_tls", [False, True])
async def test_bodies_of_any_size_arrive_completely_on_one_connection(
    make_settings: MakeSettings, server_tls: ssl.SSLContext, has_tls: bool, size: int
) -> None:
    connections, bodies = 0, []

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while head := await reader.readuntil(b"\r\n\r\n"):
            bodies.append(await reader.readexactly(int(head.split(b"Content-Length: ")[1].split()[0])))
            writer.write(ANSWER)

    body = {"prompt": "x" * size}
    async with (
        listening(respond, server_tls if has_tls else None) as url,
        OllamaClient(client_options(make_settings(ollama_base_url=url))) as transport,
    ):
        for _ in range(2):
            assert await transport.post(PATH, body) == {"done": True}
    assert [json.loads(seen) for seen in bodies] == [body, body]
    assert connections == 1

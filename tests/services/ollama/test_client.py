"""The client: requests, retries, connections and errors."""

import asyncio
import contextlib
import itertools
import json
import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.ollama.client import OllamaClient
from services.ollama.errors import (
    NoSuchEndpointError,
    NotFoundError,
    OllamaBusyError,
    OllamaConnectTimeoutError,
    OllamaError,
    OllamaResponseError,
    OllamaTimeoutError,
    OllamaUnavailableError,
    RejectedByOllamaError,
)
from services.upstream import client_options
from simulator import Call, Fault, Simulator
from tests.api import fault_id
from tests.conftest import MakeSettings
from tests.kinds import PATIENCE_SECONDS, until

PATH = "/api/generate"
BODY = {"model": "llama3.1", "prompt": "Hi"}

pytestmark = pytest.mark.every_loop

Ask = Callable[[OllamaClient], Awaitable[Any]]
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"done":true}'
CERTIFICATE = Path(__file__).parent / "tls" / "localhost.pem"
Respond = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def transport(make_settings: MakeSettings) -> AsyncIterator[OllamaClient]:
    async with OllamaClient(
        client_options(make_settings(ollama_request_timeout=0.5, ollama_stream_idle_timeout=0.2))
    ) as transport:
        yield transport


async def whole(transport: OllamaClient) -> dict[str, Any]:
    return await transport.post(PATH, BODY | {"stream": False})


async def streamed(transport: OllamaClient) -> list[dict[str, Any]]:
    chunks = []
    async with transport.stream(PATH, BODY | {"stream": True}) as reader:
        while found := await reader.read():
            chunks += found
    return chunks


either = pytest.mark.parametrize("ask", [whole, streamed])


@asynccontextmanager
async def refused() -> AsyncIterator[str]:
    """Yield an address where no server listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def server_tls(monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A TLS context for a server that aiohttp trusts during the test."""
    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@asynccontextmanager
async def listening(respond: Respond, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Yield the address of a server; its handlers are ended on exit."""
    served: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await respond(reader, writer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*filter(None, served))


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """Yield the address of a server that sends the same bytes after each request head."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with listening(respond) as url:
        yield url


def calls(simulator: Simulator) -> list[Call]:
    return simulator.calls_to(PATH)


# Requests


@either
async def test_a_request_has_a_json_body_and_few_headers(
    transport: OllamaClient, simulator: Simulator, ask: Ask
) -> None:
    await ask(transport)
    (seen,) = calls(simulator)
    assert (seen.method, seen.headers["Content-Type"]) == ("POST", "application/json")
    assert seen.headers["Host"] == simulator.url.removeprefix("http://")
    assert {name.title() for name in seen.headers} == {"Host", "Accept", "User-Agent", "Content-Type", "Content-Length"}


async def test_a_get_request_has_no_body(transport: OllamaClient, simulator: Simulator) -> None:
    await transport.get("/api/tags")
    (seen,) = simulator.calls
    assert {name.title() for name in seen.headers} == {"Host", "Accept", "User-Agent"}


@either
async def test_the_api_key_is_sent_upstream(make_settings: MakeSettings, simulator: Simulator, ask: Ask) -> None:
    async with OllamaClient(client_options(make_settings(ollama_api_key=SecretStr("hush")))) as transport:
        await ask(transport)
        await transport.get("/api/tags")
    assert {seen.headers.get("Authorization") for seen in simulator.calls} == {"Bearer hush"}
    assert len(simulator.calls) == 2


async def test_a_large_body_is_sent_completely_on_each_attempt(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    simulator.fault(Fault(status=503, message="busy"))
    prompt = "x" * 3_000_000
    async with OllamaClient(client_options(make_settings())) as transport:
        await transport.post(PATH, BODY | {"prompt": prompt, "stream": False})
    assert [(seen.status, len(seen.body["prompt"])) for seen in calls(simulator)] == [
        (503, 3_000_000),
        (200, 3_000_000),
    ]


@either
async def test_connections_are_kept_alive(transport: OllamaClient, simulator: Simulator, ask: Ask) -> None:
    for _ in range(3):
        await ask(transport)
    assert len({seen.connection for seen in calls(simulator)}) == 1


async def test_health_and_generation_do_not_share_connections(transport: OllamaClient, simulator: Simulator) -> None:
    await whole(transport)
    await transport.get("/api/version")
    await whole(transport)
    assert [seen.connection for seen in simulator.calls] == [1, 2, 1]


async def test_a_base_url_may_have_a_path(make_settings: MakeSettings, simulator: Simulator) -> None:
    async with OllamaClient(client_options(make_settings(ollama_base_url=f"{simulator.url}/ollama/api/"))) as transport:
        with pytest.raises(NoSuchEndpointError):
            await transport.get("/api/tags")
    assert [seen.path for seen in simulator.calls] == ["/ollama/api/tags"]


async def test_the_password_of_a_base_url_is_sent_upstream(make_settings: MakeSettings, simulator: Simulator) -> None:
    address = simulator.url.replace("://", "://user:word@")
    async with OllamaClient(client_options(make_settings(ollama_base_url=address))) as transport:
        await whole(transport)
    assert calls(simulator)[0].headers["Authorization"] == "Basic dXNlcjp3b3Jk"


async def test_a_redirect_is_not_followed(make_settings: MakeSettings, simulator: Simulator) -> None:
    location = f"Location: {simulator.url}{PATH}\r\n"
    redirect = f"HTTP/1.1 307 Temporary Redirect\r\n{location}Content-Length: 0\r\n\r\n".encode()
    async with (
        answering(redirect) as url,
        OllamaClient(client_options(make_settings(ollama_base_url=url))) as transport,
    ):
        with pytest.raises(OllamaResponseError, match="status 307"):
            await whole(transport)
    assert simulator.calls == []


# Requests that are retried


@either
@pytest.mark.parametrize("status", [503, 429])
async def test_a_request_to_a_busy_server_is_retried(
    transport: OllamaClient, simulator: Simulator, status: int, ask: Ask
) -> None:
    simulator.fault(Fault(status=status, message="busy", times=2))
    assert await ask(transport)
    assert [seen.status for seen in calls(simulator)] == [status, status, 200]


@either
@pytest.mark.parametrize("attempts", [1, 2, 4])
async def test_attempts_are_counted(make_settings: MakeSettings, simulator: Simulator, attempts: int, ask: Ask) -> None:
    simulator.fault(Fault(status=503, message="busy", times=None))
    async with OllamaClient(client_options(make_settings(ollama_retry_attempts=attempts))) as transport:
        with pytest.raises(OllamaBusyError):
            await ask(transport)
    assert len(calls(simulator)) == attempts


@either
async def test_a_refused_connection_is_retried(
    make_settings: MakeSettings, simulator: Simulator, caplog: pytest.LogCaptureFixture, ask: Ask
) -> None:
    await simulator.stop()
    async with OllamaClient(
        client_options(make_settings(ollama_retry_attempts=10, ollama_retry_backoff=0.05))
    ) as transport:
        asked = asyncio.ensure_future(ask(transport))
        await until(lambda: "attempt 1 failed" in caplog.text)
        await simulator.start()
        assert await asked
    assert len(calls(simulator)) == 1
    assert "127.0.0.1" not in caplog.text


@either
async def test_a_server_that_stays_unreachable_is_unavailable(
    make_settings: MakeSettings, caplog: pytest.LogCaptureFixture, ask: Ask
) -> None:
    async with refused() as address, OllamaClient(client_options(make_settings(ollama_base_url=address))) as transport:
        with pytest.raises(OllamaUnavailableError) as caught:
            await ask(transport)
    assert caught.value.retryable
    assert [record.message[:16] for record in caplog.records] == ["attempt 1 failed", "attempt 2 failed"]


@either
async def test_a_host_name_that_does_not_resolve_is_unavailable(make_settings: MakeSettings, ask: Ask) -> None:
    settings = make_settings(ollama_base_url="http://ollama.invalid", ollama_retry_attempts=1)
    async with OllamaClient(client_options(settings)) as transport:
        with pytest.raises(OllamaUnavailableError) as caught:
            await ask(transport)
    assert "invalid" not in caught.value.detail


async def test_the_backoff_grows(
    make_settings: MakeSettings, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.fault(Fault(status=503, message="busy", times=None))
    async with OllamaClient(
        client_options(make_settings(ollama_retry_attempts=5, ollama_retry_backoff=0.02))
    ) as transport:
        with pytest.raises(OllamaBusyError):
            await whole(transport)
    starts = [seen.started for seen in calls(simulator)]
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert all(pause >= 0.02 * 2**number for number, pause in enumerate(pauses))
    assert len(caplog.records) == 4


# Requests that are not retried


NOT_AGAIN: list[tuple[Fault, type[OllamaError]]] = [
    (Fault(status=400, message="no"), RejectedByOllamaError),
    (Fault(status=404, message="no"), NotFoundError),
    (Fault(status=404, body=b"404 page not found"), NoSuchEndpointError),
    (Fault(status=401, message="no"), OllamaResponseError),
    (Fault(status=500), OllamaResponseError),
    (Fault(status=502, body=b"<html>"), OllamaResponseError),
    (Fault(status=504, body=b"<html>"), OllamaResponseError),
    (Fault(reset_after=0), OllamaResponseError),
    (Fault(truncate_body=True), OllamaResponseError),
    (Fault(garbage_status_line=True), OllamaResponseError),
    (Fault(body=b"<html>"), OllamaResponseError),
    (Fault(hang=True), OllamaTimeoutError),
    (Fault(stall_after=0), OllamaTimeoutError),
]


@either
@pytest.mark.parametrize(("fault", "kind"), NOT_AGAIN, ids=fault_id)
async def test_a_request_that_may_have_run_is_not_retried(
    transport: OllamaClient, simulator: Simulator, fault: Fault, kind: type[OllamaError], ask: Ask
) -> None:
    simulator.fault(fault)
    with pytest.raises(kind) as caught:
        await ask(transport)
    assert type(caught.value) is kind
    assert caught.value.retryable is False
    assert caught.value.__cause__ is not None or fault.status is not None
    assert len(calls(simulator)) == 1
    assert "127.0.0.1" not in str(caught.value)
    assert "html" not in str(caught.value)
    assert await ask(transport)


@pytest.mark.parametrize("fault", [Fault(error_after=3), Fault(reset_after=3), Fault(stall_after=3)], ids=fault_id)
async def test_a_stream_is_not_retried_after_its_first_chunk(
    transport: OllamaClient, simulator: Simulator, fault: Fault
) -> None:
    simulator.fault(fault)
    async with transport.stream(PATH, BODY | {"stream": True}) as reader:
        count = 0
        while count < 3:
            count += len(await reader.read())
        with pytest.raises(OllamaError):
            await reader.read()
    assert count == 3
    assert len(calls(simulator)) == 1


async def test_chunks_before_an_invalid_line_are_delivered(transport: OllamaClient, simulator: Simulator) -> None:
    simulator.fault(Fault(body=b'{"response":"a"}\n{"response":"b"}\nnonsense\n'))
    async with transport.stream(PATH, BODY) as reader:
        assert [chunk["response"] for chunk in await reader.read()] == ["a", "b"]
        with pytest.raises(OllamaResponseError):
            await reader.read()


# Dead kept-alive connections


@either
@pytest.mark.parametrize("fault", [Fault(drop_reused=True), Fault(path=PATH, close_after_response=True)], ids=fault_id)
async def test_a_dead_connection_is_replaced_once(
    transport: OllamaClient, simulator: Simulator, fault: Fault, ask: Ask
) -> None:
    if fault.drop_reused:
        await ask(transport)
        simulator.fault(fault)
    else:
        simulator.fault(fault)
        await ask(transport)
    simulator.calls.clear()
    assert await ask(transport)
    assert [seen.status for seen in calls(simulator)][-1] == 200
    assert len(calls(simulator)) <= 2
    assert calls(simulator)[-1].reused is False


@either
async def test_many_dead_connections_are_replaced(transport: OllamaClient, simulator: Simulator, ask: Ask) -> None:
    simulator.fault(Fault(delay_seconds=0.05, times=3))
    await asyncio.gather(*(ask(transport) for _ in range(3)))
    simulator.fault(Fault(drop_reused=True, times=None))
    for _ in range(3):
        assert await ask(transport)
    assert len({seen.connection for seen in calls(simulator)[:3]}) == 3


@either
async def test_a_fresh_connection_that_dies_is_not_replaced(
    transport: OllamaClient, simulator: Simulator, ask: Ask
) -> None:
    await ask(transport)
    simulator.calls.clear()
    simulator.fault(Fault(reset_after=0, times=None))
    with pytest.raises(OllamaResponseError) as caught:
        await ask(transport)
    assert type(caught.value) is OllamaResponseError
    assert [seen.reused for seen in calls(simulator)] == [True, False]


@either
async def test_a_connection_that_dies_during_a_response_is_not_replaced(
    transport: OllamaClient, simulator: Simulator, ask: Ask
) -> None:
    await ask(transport)
    simulator.calls.clear()
    simulator.fault(Fault(reset_after=1))
    with pytest.raises(OllamaResponseError):
        await ask(transport)
    assert len(calls(simulator)) == 1


async def test_a_dead_connection_is_replaced_once_for_a_get_request_too(
    transport: OllamaClient, simulator: Simulator
) -> None:
    await transport.get("/api/version")
    simulator.fault(Fault(path="/api/version", drop_reused=True, times=None))
    assert await transport.get("/api/version")
    assert [seen.reused for seen in simulator.calls] == [False, True, False]


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


@either
async def test_a_closed_client_is_unavailable(make_settings: MakeSettings, simulator: Simulator, ask: Ask) -> None:
    async with OllamaClient(client_options(make_settings())) as transport:
        await ask(transport)
    simulator.calls.clear()
    with pytest.raises(OllamaUnavailableError, match="closed meanwhile"):
        await ask(transport)
    with pytest.raises(OllamaUnavailableError, match="closed meanwhile"):
        await transport.get("/api/version")
    assert simulator.calls == []


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


# Servers other than Ollama


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


# Timeouts


async def test_connecting_has_its_own_timeout(make_settings: MakeSettings) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        settings = make_settings(ollama_base_url=f"http://127.0.0.1:{port}", ollama_connect_timeout=0.2)
        async with OllamaClient(client_options(settings)) as transport:
            with pytest.raises(OllamaConnectTimeoutError) as caught:
                await whole(transport)
        for filler in fillers:
            filler.close()
    assert "OLLAMA_CONNECT_TIMEOUT" in caught.value.detail
    assert caught.value.retryable


@pytest.mark.asyncio(loop_factories=["asyncio"])  # uvloop's methods cannot be patched
async def test_the_health_timeout_leaves_time_for_the_response_of_the_service(
    make_settings: MakeSettings, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.fault(Fault(path="/api/version", hang=True))
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    call_at = loop.call_at

    def watched(when: float, *args: Any, **options: Any) -> asyncio.TimerHandle:
        timers.append(when - loop.time())
        return call_at(when, *args, **options)

    monkeypatch.setattr(loop, "call_at", watched)
    async with OllamaClient(
        client_options(make_settings(ollama_health_timeout=100, ollama_connect_timeout=2))
    ) as transport:
        asking = asyncio.create_task(transport.get("/api/version"))
        await simulator.received("/api/version")
        asking.cancel()
    assert [round(seconds) for seconds in timers if 10 < seconds < 1000 and round(seconds) != 60] == [97]


async def test_health_has_its_own_timeout(make_settings: MakeSettings, simulator: Simulator) -> None:
    simulator.fault(Fault(path="/api/version", hang=True))
    async with OllamaClient(client_options(make_settings(ollama_health_timeout=0.2))) as transport:
        with pytest.raises(OllamaTimeoutError, match="OLLAMA_HEALTH_TIMEOUT"):
            await transport.get("/api/version")
    assert len(simulator.calls) == 1

"""TLS between the service and Ollama, with valid and invalid certificates."""

import asyncio
import logging
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from main import create_app
from services.ollama.error_mapping import map_aiohttp_error
from services.ollama.errors import OllamaUnavailableError
from simulator import Simulator
from tests.api import get, problem_in
from tests.conftest import MakeSettings
from tests.kinds import EMBEDDINGS, STREAMED_SSE, WHOLE, Kind, see
from tests.service_process import run_service
from tests.serving import serve

kinds = pytest.mark.parametrize("kind", [WHOLE, STREAMED_SSE, EMBEDDINGS], ids=lambda kind: kind.name)
Respond = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-days", "2", "-subj", "/CN=ollama", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate, *names], check=True, capture_output=True)
    return certificate, key


@asynccontextmanager
async def tls_in_front_of(simulator: Simulator, certificate: tuple[Path, Path]) -> AsyncIterator[str]:
    """Yield the address of a TLS proxy in front of the simulator."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", simulator.port)
        copies = [asyncio.ensure_future(copy(reader, upstream_writer))]
        copies.append(asyncio.ensure_future(copy(upstream_reader, writer)))
        try:
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in copies:
                task.cancel()
            upstream_writer.close()
            writer.close()
            await asyncio.gather(*copies, return_exceptions=True)

    async with listening(respond, context) as port:
        yield f"https://127.0.0.1:{port}"


@asynccontextmanager
async def listening(respond: Respond, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Yield the port of a server; all its handlers are ended on exit."""
    tasks: list[asyncio.Task[None]] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await respond(reader, writer)
        writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        tasks.append(asyncio.create_task(serve_one(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()


def saying(answer: bytes) -> Respond:
    """Return a handler that responds to anything with these bytes."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(answer)
        await writer.drain()

    return respond


@asynccontextmanager
async def misconfigured(case: str, simulator: Simulator, certificate: tuple[Path, Path]) -> AsyncIterator[str]:
    """Yield an address that does not work."""
    go_server = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
    nginx = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html>The plain HTTP request was sent to HTTPS port"
    async with AsyncExitStack() as stack:
        match case:
            case "self-signed":
                yield await stack.enter_async_context(tls_in_front_of(simulator, certificate))
            case "https to http":
                yield simulator.url.replace("http:", "https:")
            case "http to https, alert":
                port = await stack.enter_async_context(listening(saying(b"\x15\x03\x01\x00\x02\x02\x46")))
                yield f"http://127.0.0.1:{port}"
            case "http to https, Go":
                yield f"http://127.0.0.1:{await stack.enter_async_context(listening(saying(go_server)))}"
            case _:
                yield f"http://127.0.0.1:{await stack.enter_async_context(listening(saying(nginx)))}"


MISCONFIGURED = [
    ("self-signed", "certificate: self-signed certificate"),
    ("https to http", "TLS: wrong version number"),
    ("http to https, alert", "the server speaks TLS"),
    ("http to https, Go", "the server speaks TLS"),
    ("http to https, nginx", "the server speaks TLS"),
]


@kinds
@pytest.mark.parametrize(("case", "cause"), MISCONFIGURED)
async def test_tls_configuration_errors_are_not_retried(
    make_settings: MakeSettings,
    simulator: Simulator,
    client: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
    certificate: tuple[Path, Path],
    kind: Kind,
    case: str,
    cause: str,
) -> None:
    caplog.set_level(logging.INFO)
    async with misconfigured(case, simulator, certificate) as address:
        settings = make_settings(ollama_base_url=address, ollama_down_cooldown=30)
        async with serve(create_app(settings)) as url:
            for _ in range(2):  # the second is refused at once
                seen = await see(kind.ask(client, url))
                assert (seen.status, seen.code, seen.json["retryable"]) == (503, "ollama_unavailable", False)
                assert "log" in seen.json["detail"]
                assert not {"certificate", "TLS", "127"} & set(seen.json["detail"].replace(":", " ").split())
                assert int(seen.headers["Retry-After"]) >= 1
            health = await get(client, f"{url}/health")
            problem = problem_in(await get(client, f"{url}/api/ollama/models"), "ollama_unavailable")
    assert (health.status, health.json()["services"]) == (503, {"ollama": "down"})
    assert problem["retryable"] is False
    assert simulator.calls_to(kind.upstream) == []
    assert cause in caplog.text
    assert "next in" not in caplog.text
    assert [line for line in caplog.messages if line.startswith("Ollama cannot be reached; ")][1:] == []


async def test_a_certificate_that_is_trusted_by_ssl_cert_file_works(
    simulator: Simulator, client: aiohttp.ClientSession, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    async with (
        tls_in_front_of(simulator, certificate) as address,
        run_service(address, tmp_path, ssl_cert_file=certificate[0]) as service,
    ):
        for kind in (WHOLE, STREAMED_SSE, EMBEDDINGS, WHOLE):
            assert (await see(kind.ask(client, service.url))).status == 200
        assert (await get(client, f"{service.url}/health")).status == 200
    assert len(simulator.calls_to(WHOLE.upstream)) == 3


async def test_a_certificate_for_another_name_is_not_accepted(
    simulator: Simulator, client: aiohttp.ClientSession, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    async with tls_in_front_of(simulator, certificate) as address:
        named = address.replace("127.0.0.1", "localhost")
        async with run_service(named, tmp_path, ssl_cert_file=certificate[0]) as service:
            seen = await see(WHOLE.ask(client, service.url))
            assert (seen.code, seen.json["retryable"]) == ("ollama_unavailable", False)
            assert "certificate: Hostname mismatch" in service.log


@pytest.mark.parametrize(
    ("address", "cause"),
    [("http://ollama.invalid", "DNS: "), ("http://127.0.0.1:9", "network: Connection refused")],
)
async def test_temporary_failures_are_retried_and_their_reason_is_logged(
    make_settings: MakeSettings,
    client: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
    address: str,
    cause: str,
) -> None:
    async with serve(create_app(make_settings(ollama_base_url=address))) as url:
        seen = await see(WHOLE.ask(client, url))
    assert (seen.status, seen.code, seen.json["retryable"]) == (503, "ollama_unavailable", True)
    assert seen.json["detail"] == "Ollama could not be reached."
    assert any(line.startswith("attempt 2 failed, next in") and cause in line for line in caplog.messages)
    assert any(line.startswith("Ollama cannot be reached; ") and cause in line for line in caplog.messages)


async def test_an_aborted_handshake_is_retried(
    make_settings: MakeSettings, client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        listening(saying(b"")) as port,
        serve(create_app(make_settings(ollama_base_url=f"https://127.0.0.1:{port}"))) as url,
    ):
        seen = await see(WHOLE.ask(client, url))
    assert (seen.code, seen.json["retryable"]) == ("ollama_unavailable", True)
    assert "TLS: the handshake was cut off" in caplog.text


def test_an_unknown_network_failure_is_logged_by_its_type() -> None:
    error = aiohttp.ClientConnectorError(None, OSError("odd"))  # type: ignore[arg-type]
    mapped = map_aiohttp_error(error)
    assert isinstance(mapped, OllamaUnavailableError)
    assert (mapped.retryable, mapped.log_message) == (True, "Ollama could not be reached. (network: OSError)")

"""Weaviate and CrewAI in `/health`: checked with one GET each, within their timeouts."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from main import create_app
from tests.api import Answer, get
from tests.conftest import MakeSettings
from tests.service_process import free_port
from tests.serving import serve

READY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
NOT_READY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
NO_SUCH_PATH = b"HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n"
READY_PATH = "/v1/.well-known/ready"
LIMIT = 0.2
SLACK = 4  # for a busy machine


class Neighbour:
    """A server with `answer` at one path, as Weaviate, and 501 at others; it does not respond if `answer` is None."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.answer: bytes | None = READY
        self.delay_seconds = 0.0
        self.heads: list[str] = []
        self.open = 0
        self.url = ""
        self._ended = asyncio.Event()

    @property
    def paths(self) -> list[str]:
        """The paths that were requested."""
        return [head.split(" ")[1] for head in self.heads]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Neighbour"]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self
            self._ended.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            head = await reader.read(65536)
            if not head.startswith(b"GET "):  # TLS, for one
                writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return
            self.heads.append(head.decode())
            answer = self.answer if self.paths[-1] == self._path else NO_SUCH_PATH
            if answer is None:
                await self._ended.wait()
            else:
                await asyncio.sleep(self.delay_seconds)
                writer.write(answer)
            await reader.read()
        except ConnectionError:
            pass
        finally:
            self.open -= 1
            writer.close()


@pytest.fixture
async def weaviate() -> AsyncIterator[Neighbour]:
    async with Neighbour(READY_PATH).listening() as server:
        yield server


@pytest.fixture
async def url(make_settings: MakeSettings, weaviate: Neighbour) -> AsyncIterator[str]:
    async with serve(create_app(make_settings(weaviate_url=weaviate.url, weaviate_health_timeout=SLACK))) as url:
        yield url


async def timely(client: aiohttp.ClientSession, url: str) -> Answer:
    started = time.monotonic()
    answer = await get(client, f"{url}/health")
    assert time.monotonic() - started < LIMIT + SLACK
    return answer


def is_down(answer: Answer) -> bool:
    document = answer.json()
    return (answer.status, document["status"], document["services"]) == (
        503,
        "degraded",
        {"ollama": "up", "weaviate": "down"},
    )


async def test_a_weaviate_that_is_ready_is_up(client: aiohttp.ClientSession, url: str, weaviate: Neighbour) -> None:
    answer = await get(client, f"{url}/health", headers={"Authorization": "Bearer x", "Cookie": "a=b"})
    assert (answer.status, answer.json()["status"]) == (200, "healthy")
    assert answer.json()["services"] == {"ollama": "up", "weaviate": "up"}
    assert weaviate.paths == [READY_PATH]
    assert "authorization" not in weaviate.heads[0].lower()
    assert "cookie" not in weaviate.heads[0].lower()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (NOT_READY, "status 503"),
        (NO_SUCH_PATH, "status 501"),
        (b"HTTP/1.1 302 Found\r\nLocation: /v1/.well-known/ready\r\nContent-Length: 0\r\n\r\n", "status 302"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "status 204"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "ClientResponseError"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "ClientResponseError"),
    ],
    ids=["starting", "not implemented", "redirect", "no content", "TLS", "garbage"],
)
async def test_a_weaviate_that_does_not_say_it_is_ready_is_down(
    client: aiohttp.ClientSession,
    url: str,
    weaviate: Neighbour,
    answer: bytes,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    weaviate.answer = answer
    assert is_down(await timely(client, url))
    assert is_down(await timely(client, url))
    assert set(weaviate.paths) == {READY_PATH}
    assert len(weaviate.paths) == 2
    (told,) = [message for message in caplog.messages if "weaviate" in message]
    assert told.startswith("the component weaviate is down: ")
    assert reason in told
    assert (await get(client, f"{url}/health/ready")).status == 200
    weaviate.answer = READY
    assert (await timely(client, url)).json()["services"]["weaviate"] == "up"


async def test_a_ready_weaviate_is_up_however_long_its_body_takes(
    client: aiohttp.ClientSession, url: str, weaviate: Neighbour
) -> None:
    weaviate.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    assert (await timely(client, url)).status == 200


@pytest.mark.parametrize(("scheme", "reason"), [("https", "SSL"), ("http", "Cannot connect")])
async def test_a_weaviate_that_cannot_be_reached_is_down(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    weaviate: Neighbour,
    scheme: str,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    address = weaviate.url.replace("http", "https") if scheme == "https" else f"http://127.0.0.1:{free_port()}"
    async with serve(create_app(make_settings(weaviate_url=address))) as url:
        assert is_down(await timely(client, url))
    (told,) = [message for message in caplog.messages if "weaviate" in message]
    assert reason in told


@pytest.mark.parametrize(
    ("setting", "seconds"), [("weaviate_health_timeout", "0.2"), ("ollama_health_timeout", "0.194")]
)
async def test_a_silent_weaviate_holds_health_no_longer_than_the_shorter_limit(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    weaviate: Neighbour,
    setting: str,
    seconds: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    weaviate.answer = None
    async with serve(create_app(make_settings(weaviate_url=weaviate.url, **{setting: LIMIT}))) as url:
        document = (await timely(client, url)).json()
        assert (document["status"], document["services"]["weaviate"]) == ("degraded", "down")
    (told,) = [message for message in caplog.messages if "weaviate" in message]
    assert told == f"the component weaviate is down: no answer within {seconds} s"


@pytest.mark.every_loop
async def test_names_that_are_not_resolved_occupy_one_thread_each_and_hold_health_only_for_its_limit(
    client: aiohttp.ClientSession, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve, resolved, ended = socket.getaddrinfo, [], threading.Event()

    def hang(host: str, *how: Any) -> Any:
        if host in {"weaviate", "agents"}:
            resolved.append(host)
            ended.wait(60)
            raise socket.gaierror
        return resolve(host, *how)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    settings = make_settings(
        weaviate_url="weaviate", crewai_health_url="http://agents", ollama_health_timeout=2 * LIMIT
    )
    try:
        async with serve(create_app(settings)) as url:
            for _ in range(3):
                document = (await timely(client, url)).json()
                assert document["services"] == {
                    "ollama": "up",
                    "weaviate": "down",
                    "crewai_agents": "not_initialized",
                }
            assert sorted(resolved) == ["agents", "weaviate"]
    finally:
        ended.set()


async def test_simultaneous_probes_ask_weaviate_once_and_leave_no_connection(
    client: aiohttp.ClientSession, make_settings: MakeSettings, weaviate: Neighbour
) -> None:
    weaviate.delay_seconds = 0.5
    async with serve(create_app(make_settings(weaviate_url=weaviate.url, weaviate_health_timeout=4))) as url:
        answers = await asyncio.gather(*(get(client, f"{url}/health") for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert len(weaviate.heads) == 1
    async with asyncio.timeout(5):
        while weaviate.open:
            await asyncio.sleep(0.01)


async def test_weaviate_is_not_asked_for_readiness_and_liveness(
    client: aiohttp.ClientSession, url: str, weaviate: Neighbour
) -> None:
    assert (await get(client, f"{url}/health/ready")).status == 200
    assert (await get(client, f"{url}/health/live")).status == 200
    assert weaviate.heads == []


async def test_the_agents_are_asked_by_their_url_and_have_the_words_of_the_story(
    client: aiohttp.ClientSession, make_settings: MakeSettings
) -> None:
    async with (
        Neighbour("/health?of=agents").listening() as agents,
        serve(create_app(make_settings(crewai_health_url=f"{agents.url}/health?of=agents"))) as url,
    ):
        answer = await get(client, f"{url}/health")
        assert (answer.status, answer.json()["services"]) == (200, {"ollama": "up", "crewai_agents": "initialized"})
        agents.answer = NOT_READY
        answer = await get(client, f"{url}/health")
        assert (answer.status, answer.json()["status"]) == (503, "degraded")
        assert answer.json()["services"] == {"ollama": "up", "crewai_agents": "not_initialized"}


@pytest.mark.skipif("WEAVIATE_TEST_URL" not in os.environ, reason="needs a Weaviate, named in WEAVIATE_TEST_URL")
@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
async def test_an_actual_weaviate_is_up(
    client: aiohttp.ClientSession, make_settings: MakeSettings, suffix: str
) -> None:
    async with serve(create_app(make_settings(weaviate_url=os.environ["WEAVIATE_TEST_URL"] + suffix))) as url:
        answer = await get(client, f"{url}/health")
    assert (answer.status, answer.json()["services"]) == (200, {"ollama": "up", "weaviate": "up"})

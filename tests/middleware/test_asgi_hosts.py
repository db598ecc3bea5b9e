"""The app behind other middleware, mounted in other apps, and run by other servers."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
import pytest
from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from main import create_app
from middleware.client_disconnect import ClientDisconnectMiddleware
from simulator import Fault, Simulator
from tests.api import CHAT, EMBEDDINGS, GENERATE, call, openapi_document
from tests.conftest import MakeSettings
from tests.kinds import STREAMED_NDJSON, STREAMED_TEXT, WHOLE, see, until
from tests.serving import serve

ROUTES: list[tuple[str, str, Any, int]] = [
    ("GET", "/health", None, 200),
    ("GET", "/health/live", None, 200),
    ("GET", "/health/ready", None, 200),
    ("GET", "/api/ollama/models", None, 200),
    ("POST", "/api/ollama/generate", GENERATE, 200),
    ("POST", "/api/ollama/generate", GENERATE | {"stream": True}, 200),
    ("POST", "/api/ollama/generate", {"prompt": ""}, 422),
    ("POST", "/api/ollama/chat", CHAT, 200),
    ("POST", "/api/ollama/chat", CHAT | {"stream": True}, 200),
    ("POST", "/api/ollama/embeddings", EMBEDDINGS, 200),
    ("GET", "/", None, 200),
    ("GET", "/docs", None, 200),
    ("GET", "/redoc", None, 200),
    ("GET", "/playground", None, 200),
    ("GET", "/openapi.json", None, 200),
    ("GET", "/nowhere", None, 404),
]


def behind_an_object(app: ASGIApp) -> ASGIApp:
    class Sender:
        def __init__(self, send: Send) -> None:
            self._send = send

        async def send(self, message: Message) -> None:
            await self._send(message)

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, Sender(send).send)

    return layer


def behind_an_object_with_another_transport(app: ASGIApp) -> ASGIApp:
    class Sender:
        transport = "smtp"

        def __init__(self, send: Send) -> None:
            self._send = send

        async def send(self, message: Message) -> None:
            await self._send(message)

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, Sender(send).send)

    return layer


def behind_a_partial(app: ASGIApp) -> ASGIApp:
    async def pass_on(send: Send, message: Message) -> None:
        await send(message)

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, partial(pass_on, send))

    return layer


def with_root_path(path: str, app: ASGIApp) -> ASGIApp:
    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "root_path": path}, receive, send)

    return layer


def mounted(app: ASGIApp) -> ASGIApp:
    outer = FastAPI()
    outer.mount("/ai", app)
    return outer


WAYS: dict[str, tuple[Callable[[ASGIApp], ASGIApp], str]] = {
    "gzip": (GZipMiddleware, ""),
    "an object": (behind_an_object, ""),
    "an object with another transport": (behind_an_object_with_another_transport, ""),
    "a partial": (behind_a_partial, ""),
    "mounted, so without its lifespan": (mounted, "/ai"),
    "a root path that is cut off": (partial(with_root_path, "/ai"), ""),
    "a root path that is the start of a name": (partial(with_root_path, "/a"), ""),
    "a root path that is kept": (partial(with_root_path, "/ai"), "/ai"),
}
every_way = pytest.mark.parametrize(("layer", "prefix"), WAYS.values(), ids=WAYS)


@pytest.mark.every_loop
@every_way
async def test_every_route_is_served(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    layer: Callable[[ASGIApp], ASGIApp],
    prefix: str,
) -> None:
    app = create_app(make_settings())
    app.openapi_schema = openapi_document()
    async with serve(layer(app)) as url:
        for method, path, body, status in ROUTES:
            answer = await call(client, method, f"{url}{prefix}{path}", json=body)
            assert (path, answer.status) == (path, status), answer.body


@every_way
@pytest.mark.parametrize("kind", [WHOLE, STREAMED_NDJSON, STREAMED_TEXT], ids=lambda kind: kind.name)
async def test_a_disconnect_is_detected(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    simulator: Simulator,
    layer: Callable[[ASGIApp], ASGIApp],
    prefix: str,
    kind: Any,
) -> None:
    simulator.fault(Fault(stall_after=2))
    async with serve(layer(create_app(make_settings()))) as url:
        asking = asyncio.create_task(see(kind.ask(client, url + prefix)))
        upstream = await simulator.received(kind.upstream)
        asking.cancel()
        await until(upstream.ended_event.is_set)
        assert upstream.outcome == "client_gone"


async def test_a_timeout_of_outer_middleware_is_raised_as_a_timeout(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator
) -> None:
    simulator.fault(Fault(hang=True))
    app = create_app(make_settings())

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(0.2):
                await app(scope, receive, send)
        except TimeoutError:
            await send({"type": "http.response.start", "status": 504, "headers": []})
            await send({"type": "http.response.body", "body": b"too late"})

    async with serve(layer) as url:
        seen = await see(WHOLE.ask(client, url))
    assert (seen.status, seen.body) == (504, b"too late")
    assert (await simulator.received(WHOLE.upstream)).outcome == "client_gone"


async def test_a_disconnect_does_not_leave_the_task_of_outer_middleware_cancelled(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator
) -> None:
    simulator.fault(Fault(hang=True))
    app = create_app(make_settings())
    cancelling: list[int] = []

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)
        if scope["type"] == "http":
            task = asyncio.current_task()
            assert task is not None
            cancelling.append(task.cancelling())

    async with serve(layer) as url:
        asking = asyncio.create_task(see(WHOLE.ask(client, url)))
        await simulator.received(WHOLE.upstream)
        asking.cancel()
        await until(lambda: len(cancelling) == 1)
    assert cancelling == [0]


async def test_a_late_cancellation_does_not_reach_outer_middleware() -> None:
    reached: list[str] = []
    is_read, is_gone = asyncio.Event(), asyncio.Event()

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # a part of the body
        is_read.set()
        await is_gone.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})  # where the lost client is noticed

    watched = ClientDisconnectMiddleware(app, write_timeout_seconds=60)

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        await watched(scope, receive, send)
        await asyncio.sleep(0)
        reached.append("the end")

    async with serve(layer, lifespan="off") as url:
        host, _, port = url.removeprefix("http://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST / HTTP/1.1\r\nHost: service\r\nContent-Length: 10\r\n\r\n12345")
        await is_read.wait()
        writer.transport.abort()
        await asyncio.sleep(0.1)
        is_gone.set()
        await until(lambda: reached == ["the end"])

"""The kinds of request that run in Ollama, and readers of their responses."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from simulator import Simulator

PROMPT: dict[str, Any] = {"prompt": "tell me something", "model": "llama3.1"}
MESSAGES: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "model": "llama3.1"}
TEXT: dict[str, Any] = {"text": "a fantasy football league"}
SSE = "text/event-stream"
NDJSON = "application/x-ndjson"
PLAIN = "text/plain"
PLACE_FREE = {"running": 0, "queued": 0}
PATIENCE_SECONDS = 10.0  # limit for something immediate, on a busy machine


@dataclass(frozen=True)
class Kind:
    """One kind of request."""

    name: str
    path: str
    upstream: str
    body: dict[str, Any]
    accept: str = "*/*"
    prefix: str = "/api/ollama"

    @property
    def is_stream(self) -> bool:
        return self.body.get("stream", False) is True

    @property
    def tells_more(self) -> bool:
        """Whether the response is a stream of events."""
        return self.accept in {SSE, NDJSON}

    def ask(self, client: aiohttp.ClientSession, url: str, **more: Any) -> Any:
        """Send it; return the context manager of `client.post`."""
        return client.post(f"{url}{self.prefix}/{self.path}", json=self.body | more, headers={"Accept": self.accept})


def _streams(name: str, path: str, upstream: str, body: dict[str, Any]) -> list[Kind]:
    streamed = body | {"stream": True}
    return [
        Kind(f"{name}-whole", path, upstream, body),
        Kind(f"{name}-sse", path, upstream, streamed, SSE),
        Kind(f"{name}-ndjson", path, upstream, streamed, NDJSON),
        Kind(f"{name}-text", path, upstream, streamed, PLAIN),
    ]


GENERATES = _streams("generate", "generate", "/api/generate", PROMPT)
CHATS = _streams("chat", "chat", "/api/chat", MESSAGES)
EMBEDDINGS = Kind("embeddings", "embeddings", "/api/embed", TEXT)
KINDS = [*GENERATES, *CHATS, EMBEDDINGS]
WHOLE, STREAMED_SSE, STREAMED_NDJSON, STREAMED_TEXT = GENERATES


def _natives(path: str, body: dict[str, Any]) -> list[Kind]:
    """Return requests of Ollama's own API, complete and streamed."""
    return [
        Kind(f"native-{path}-whole", path, f"/api/{path}", body | {"stream": False}, PLAIN, prefix="/api"),
        Kind(f"native-{path}-stream", path, f"/api/{path}", body | {"stream": True}, SSE, prefix="/api"),
    ]


def _native_embedding(path: str, name: str) -> Kind:
    return Kind(f"native-{path}", path, f"/api/{path}", {"model": "nomic-embed-text", name: "a league"}, prefix="/api")


NATIVES = [
    *_natives("chat", MESSAGES),
    *_natives("generate", PROMPT),
    _native_embedding("embed", "input"),
    _native_embedding("embeddings", "prompt"),
]
NATIVE_WHOLE, NATIVE_STREAM = NATIVES[:2]


@dataclass
class Seen:
    """A response as the client received it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool = False

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem document, whose structure is checked."""
        document = self.json
        assert self.headers["Content-Type"] == "application/problem+json"
        assert document["success"] is False
        assert document["status"] == self.status
        assert document["request_id"] == self.headers["X-Request-ID"]
        code = document["code"]
        assert isinstance(code, str)
        return code

    @property
    def events(self) -> list[dict[str, Any]]:
        if self.headers["Content-Type"] == SSE:
            return sse_events(self.body)
        assert self.body.endswith(b"\n") or not self.body
        return [json.loads(line) for line in self.body.splitlines()]

    @property
    def pings(self) -> int:
        return self.body.count(b": ping\n\n")


def sse_events(body: bytes) -> list[dict[str, Any]]:
    """Parse Server-Sent Events strictly: each has its type twice, with only comments in between."""
    events = []
    for frame in body.decode().split("\n\n")[:-1]:
        if frame.startswith(":"):
            continue
        first, second = frame.split("\n")
        event = json.loads(second.removeprefix("data: "))
        assert first == f"event: {event['type']}"
        events.append(event)
    return events


def check_one_last(events: list[dict[str, Any]], type_: str) -> None:
    """Check that `start` is the first event, and that it and the last event occur once."""
    types = [event["type"] for event in events]
    assert types[0] in {"start", "error"}
    assert types.count("start") <= 1
    assert types[-1] == type_
    assert not {"done", "error"} & set(types[:-1])


async def see(asked: Any) -> Seen:
    """Read a response to its end, or until the connection closes."""
    async with asked as response:
        body, cut = b"", False
        try:
            while piece := await response.content.readany():
                body += piece
        except aiohttp.ClientPayloadError:
            cut = True
        return Seen(response.status, response.headers, body, cut)


async def until(holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.005)


async def load(client: aiohttp.ClientSession, url: str) -> dict[str, int]:
    """Return the numbers of running and queued requests from `/health`."""
    async with client.get(f"{url}/health") as response:
        ollama = (await response.json())["ollama"]
    return {"running": ollama["running"], "queued": ollama["queued"]}


async def load_is(client: aiohttp.ClientSession, url: str, *, running: int, queued: int = 0) -> None:
    """Wait until `/health` has these numbers."""
    wanted = {"running": running, "queued": queued}
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await load(client, url) != wanted:
            await asyncio.sleep(0.005)


async def nothing_is_left(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    """Check that soon no slot is held, no upstream call runs, and no busy connection is open."""
    await load_is(client, url, **PLACE_FREE)
    await until(lambda: simulator.open_calls == 0)

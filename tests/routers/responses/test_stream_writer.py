"""The end of a stream with a slow client."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.types import Message

from routers.responses.streaming import StreamingCompletion
from server.shutdown import Shutdown
from services.completion import CompletionRequest
from services.ollama.timeouts import Interruption
from services.ollama_service import OllamaService
from simulator import Simulator
from tests.conftest import MakeSettings

REQUEST = CompletionRequest(path="/api/generate", model="llama3.1", content={"prompt": "Hi"}, options={})


class EndingShutdown(Shutdown):
    """A shutdown whose grace period the test ends."""

    def drain_guard(self) -> Interruption:
        self.limit = super().drain_guard()
        return self.limit


async def written(
    service: OllamaService, shutdown: Shutdown, accept: str, at_the_end: Callable[[], Awaitable[object]]
) -> list[Message]:
    """Return the messages sent to a client; call a function while the last message is being sent."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        if message.get("more_body") is False:
            await at_the_end()

    async def receive() -> Message:
        await asyncio.Event().wait()
        return {}

    scope = {"type": "http", "headers": [(b"accept", accept.encode())]}
    await StreamingCompletion(REQUEST, service, shutdown)(scope, receive, send)
    return sent


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson", "text/plain"])
async def test_no_ping_follows_the_end(make_settings: MakeSettings, accept: str) -> None:
    service = OllamaService(make_settings(sse_ping_interval=0.01))
    sent = await written(service, Shutdown(grace_seconds=1), accept, lambda: asyncio.sleep(0.1))
    await service.disconnect()
    assert [message.get("more_body") for message in sent].index(False) == len(sent) - 1


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson", "text/plain"])
async def test_no_second_end_follows_the_end(make_settings: MakeSettings, simulator: Simulator, accept: str) -> None:
    service = OllamaService(make_settings())
    shutdown = EndingShutdown(grace_seconds=1)

    async def end() -> None:
        shutdown.limit.interrupt()
        await asyncio.sleep(5)

    sent = await written(service, shutdown, accept, end)
    await service.disconnect()
    assert [message.get("more_body") for message in sent].index(False) == len(sent) - 1
    assert simulator.calls_to("/api/generate")[0].outcome == "completed"

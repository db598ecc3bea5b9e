"""Ways to request a completion with a small context, and what their responses report about the prompt."""

import json
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from tests.api import CHAT, GENERATE, post
from tests.kinds import NDJSON, PLAIN, SSE, sse_events
from tests.openai_api import ask, data_in

CONTEXT = 512
SMALL: dict[str, Any] = {"options": {"num_ctx": CONTEXT}, "max_tokens": 5}
LONG_TEXT = "who should start this week " * 200
LONG_PROMPT = GENERATE | SMALL | {"prompt": LONG_TEXT}
TURNS = [{"role": "user" if at % 2 else "assistant", "content": "who should start this week " * 4} for at in range(41)]
LONG_CHAT = CHAT | SMALL | {"messages": [{"role": "system", "content": "Be brief."}, *TURNS]}
LONG_OPENAI = {"messages": LONG_CHAT["messages"], "model": "llama3.1", "max_tokens": 5, "options": SMALL["options"]}
INCLUDE_USAGE = {"stream": True, "stream_options": {"include_usage": True}}


@dataclass(frozen=True)
class Report:
    """What a response reports about its prompt."""

    status: int
    warnings: list[str]
    context_length: int | None
    header: str | None


@dataclass(frozen=True)
class Surface:
    """A way to request a completion."""

    name: str
    endpoint: str
    accept: str = "*/*"
    stream: bool = False

    @property
    def upstream(self) -> str:
        """The endpoint of Ollama that it uses."""
        return "/api/generate" if self.endpoint == "generate" else "/api/chat"

    @property
    def long_body(self) -> dict[str, Any]:
        """A request with a prompt that is too long."""
        return {"generate": LONG_PROMPT, "chat": LONG_CHAT}.get(self.endpoint, LONG_OPENAI)

    async def tell(self, client: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> Report:
        """Send a request and return what the response reports."""
        if self.endpoint == "v1":
            answer = await ask(client, url, "chat/completions", body | (INCLUDE_USAGE if self.stream else {}))
            header = answer.headers.get("X-Prompt-Truncated")
            if answer.status != 200:
                return Report(answer.status, [], None, header)
            if not self.stream:
                document = answer.json()
                return Report(200, document["warnings"], document["usage"].get("context_length"), header)
            *_, end, usage, _done = data_in(answer.body)
            length = json.loads(usage)["usage"].get("context_length")
            return Report(200, json.loads(end)["warnings"], length, header)
        answer = await post(client, url, self.endpoint, body | {"stream": self.stream}, self.accept)
        header = answer.headers.get("X-Prompt-Truncated")
        if answer.status != 200 or self.accept == PLAIN:
            return Report(answer.status, [], None, header)
        if not self.stream:
            last = answer.json()
        else:
            lines = sse_events(answer.body) if self.accept == SSE else map(json.loads, answer.body.splitlines())
            *_, last = lines
        return Report(200, last["warnings"], last["usage"]["context_length"], header)


SURFACES = [
    Surface("generate", "generate"),
    Surface("generate-sse", "generate", SSE, stream=True),
    Surface("generate-text", "generate", PLAIN, stream=True),
    Surface("chat", "chat"),
    Surface("chat-ndjson", "chat", NDJSON, stream=True),
    Surface("v1", "v1"),
    Surface("v1-stream", "v1", stream=True),
]
surfaces = pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.name)

"""Calls to OpenAI's API, with checks that apply to every response."""

import json
from typing import Any

import aiohttp

from simulator import Simulator
from tests.api import NEVER_SHOWN, STATUSES, Answer, call

MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": "Who should start this week?"}]
CHAT: dict[str, Any] = {"model": "llama3.1", "messages": MESSAGES}
STREAMED = CHAT | {"stream": True}
UPSTREAM = "/api/chat"
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "score",
        "description": "Points of a player.",
        "strict": True,
        "parameters": {"type": "object", "properties": {"week": {"type": "integer"}}, "required": ["week"]},
    },
}
RETRYABLE = {"ollama_unavailable", "ollama_busy", "model_stuck", "overloaded", "shutting_down"}


async def ask(client: aiohttp.ClientSession, url: str, endpoint: str, body: Any, **how: Any) -> Answer:
    """Send JSON to an endpoint, such as `chat/completions`."""
    return await call(client, "POST", f"{url}/v1/{endpoint}", json=body, **how)


async def complete(client: aiohttp.ClientSession, url: str, body: Any, **how: Any) -> dict[str, Any]:
    """Return a chat completion that must be a success."""
    answer = await ask(client, url, "chat/completions", body, **how)
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == "application/json"
    document: dict[str, Any] = answer.json()
    assert document["object"] == "chat.completion"
    assert document["id"].startswith("chatcmpl-")
    assert answer.headers["X-Model"] == document["model"]
    return document


async def sent(client: aiohttp.ClientSession, url: str, simulator: Simulator, body: dict[str, Any]) -> dict[str, Any]:
    """Return the body that Ollama receives for a request."""
    await complete(client, url, body)
    seen: dict[str, Any] = simulator.calls_to(UPSTREAM)[-1].body
    return seen


def data_in(body: bytes) -> list[str]:
    """Parse a stream strictly: only `data` lines and comments."""
    assert body.endswith(b"\n\n")
    frames = [frame for frame in body.decode().split("\n\n")[:-1] if not frame.startswith(":")]
    assert all(frame.startswith("data: ") and "\n" not in frame for frame in frames)
    return [frame.removeprefix("data: ") for frame in frames]


def chunks_in(answer: Answer) -> list[dict[str, Any]]:
    """Return the chunks of a stream that must be complete."""
    assert answer.status == 200, answer.body
    assert answer.media_type == "text/event-stream"
    *chunks, end = data_in(answer.body)
    assert end == "[DONE]"
    documents = [json.loads(chunk) for chunk in chunks]
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in documents}) == 1
    assert documents[0]["object"] == "chat.completion.chunk"
    return documents


def joined(chunks: list[dict[str, Any]], name: str = "content") -> str:
    """Return the text of the deltas."""
    return "".join(chunk["choices"][0]["delta"].get(name, "") for chunk in chunks if chunk["choices"])


def error_in(answer: Answer, code: str, param: str | None = None) -> str:
    """Return the message of the error that the response must be."""
    assert answer.headers["Content-Type"] == "application/json"
    document = answer.json()
    assert document.keys() == {"error"}
    error = document["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param)
    assert answer.status == STATUSES[code]
    assert answer.headers["X-Request-ID"]
    assert answer.headers["x-should-retry"] == ("true" if code in RETRYABLE else "false")
    assert ("Retry-After" in answer.headers) is (answer.status == 503)
    assert not NEVER_SHOWN.search(answer.body.decode())
    message: str = error["message"]
    assert message
    return message

"""Requests of the contract, and readers of their responses."""

import json
from typing import Any

import aiohttp

from tests.integration.streams import NDJSON, SSE, TEXT

MODEL = "llama3.1"
FORMS = [SSE, NDJSON, TEXT]
PROMPT = "Name a few players to keep an eye on this week."
GENERATE = {"prompt": PROMPT, "model": MODEL, "max_tokens": 24, "seed": 7}
CHAT = {
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROMPT}],
    "model": MODEL,
    "max_tokens": 24,
    "seed": 7,
}
# The defaults of the settings.
OPTIONS = {
    "temperature": 0.7,
    "top_p": 0.9,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "num_predict": 24,
    "seed": 7,
}


async def problem(response: aiohttp.ClientResponse, status: int, code: str) -> dict[str, Any]:
    """Return the problem document that the response must be."""
    document: dict[str, Any] = await response.json(content_type="application/problem+json")
    assert (response.status, document["status"], document["code"]) == (status, status, code), document
    assert document["success"] is False
    assert document["request_id"] == response.headers["X-Request-ID"]
    assert "127.0.0.1" not in json.dumps(document)
    return document

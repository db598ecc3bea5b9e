"""What the service stands in front of, and how it is called."""

from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from config import Settings


class Upstream(Protocol):
    """What the service stands in front of."""

    @property
    def url(self) -> str:
        """The base URL."""


@dataclass(frozen=True)
class ActualOllama:
    """A server that answers; `ours` when the tests started it and may do with it as they like."""

    url: str
    ours: bool


class Api:
    """Calls to one base URL."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    def get(self, path: str, **named: Any) -> aiohttp.client._RequestContextManager:
        """Send a GET request."""
        return self._session.get(self.url + path, **named)

    def post(self, path: str, body: Any, accept: str | None = None) -> aiohttp.client._RequestContextManager:
        """Send JSON, and say which form the answer should have."""
        headers = {"Accept": accept} if accept else {}
        return self._session.post(self.url + path, json=body, headers=headers)

    async def answer(self, path: str, body: Any) -> dict[str, Any]:
        """Send JSON and return the JSON of an answer that must succeed."""
        async with self.post(path, body) as response:
            answer: dict[str, Any] = await response.json()
            assert response.status == 200, answer
            return answer


def settings_for(upstream: Upstream, **values: Any) -> Settings:
    """Return default settings for this upstream; a test names what it wants otherwise."""
    return Settings(_env_file=None, ollama_base_url=upstream.url, **values)

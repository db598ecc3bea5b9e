"""The upstreams of the service, and calls to it."""

from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from config import Settings


class Upstream(Protocol):
    """An upstream of the service."""

    @property
    def url(self) -> str:
        """The base URL."""


@dataclass(frozen=True)
class ActualOllama:
    """A running server; `ours` if the tests have started it and may stop it."""

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
        """Send JSON, with an `Accept` header."""
        headers = {"Accept": accept} if accept else {}
        return self._session.post(self.url + path, json=body, headers=headers)

    async def answer(self, path: str, body: Any) -> dict[str, Any]:
        """Send JSON and return the JSON of a response that must be a success."""
        async with self.post(path, body) as response:
            answer: dict[str, Any] = await response.json()
            assert response.status == 200, answer
            return answer


def settings_for(upstream: Upstream, **values: Any) -> Settings:
    """Return default settings for this upstream; a test passes those that differ."""
    return Settings(_env_file=None, ollama_base_url=upstream.url, **values)

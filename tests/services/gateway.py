"""The service behind HAProxy."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from main import create_app
from simulator import Call, Simulator
from tests.api import get
from tests.conftest import MakeSettings
from tests.haproxy import Gateway, run_haproxy
from tests.serving import serve


class Behind:
    """The service behind HAProxy."""

    def __init__(self, url: str, gateway: Gateway, client: aiohttp.ClientSession) -> None:
        self.url = url
        self.gateway = gateway
        self.client = client


@asynccontextmanager
async def behind(
    make_settings: MakeSettings, *simulators: Simulator, gateway: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[Behind]:
    """Run the service in front of HAProxy and the simulators."""
    async with run_haproxy([it.url for it in simulators], **(gateway or {})) as haproxy:
        made = make_settings(ollama_base_url=haproxy.url, **settings)
        async with serve(create_app(made)) as url, aiohttp.ClientSession() as client:
            await get(client, f"{url}/api/ollama/models")  # the list that it reads at its start
            yield Behind(url, haproxy, client)


def generations(simulator: Simulator) -> list[Call]:
    """Return the POST requests that reached a server."""
    return [call for call in simulator.calls if call.method == "POST"]

from collections.abc import AsyncIterator

import pytest

from services.ollama.client import OllamaClient
from services.upstream import client_options
from tests.conftest import MakeSettings


@pytest.fixture
async def transport(make_settings: MakeSettings) -> AsyncIterator[OllamaClient]:
    async with OllamaClient(client_options(make_settings())) as transport:
        yield transport


@pytest.fixture
async def impatient(make_settings: MakeSettings) -> AsyncIterator[OllamaClient]:
    """A client with short timeouts."""
    settings = make_settings(ollama_request_timeout=0.5, ollama_stream_idle_timeout=0.2)
    async with OllamaClient(client_options(settings)) as transport:
        yield transport

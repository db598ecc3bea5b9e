from collections.abc import AsyncIterator

import pytest

from services.ollama_service import OllamaService
from tests.conftest import MakeSettings

MESSAGES = [{"role": "user", "content": "Hi"}]


@pytest.fixture
async def service(make_settings: MakeSettings) -> AsyncIterator[OllamaService]:
    service = OllamaService(make_settings())
    yield service
    await service.disconnect()

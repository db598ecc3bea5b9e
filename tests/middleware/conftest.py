from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from main import create_app
from tests.conftest import MakeSettings
from tests.serving import serve

KEYS = (SecretStr("first-key"), SecretStr("schlüssel"))
ORIGIN = "https://app.example"


@pytest.fixture
async def locked(make_settings: MakeSettings) -> AsyncIterator[str]:
    """The service with API keys and CORS."""
    async with serve(create_app(make_settings(api_keys=KEYS, cors_origins=(ORIGIN,), max_request_bytes=1000))) as url:
        yield url

"""A service in front of the simulator that notices stuck models soon."""

from collections.abc import AsyncIterator

import pytest

from main import create_app
from simulator import Simulator
from tests.conftest import MakeSettings
from tests.services.stuck_models.hanging import STUCK_AFTER
from tests.serving import serve


@pytest.fixture
async def url(make_settings: MakeSettings, simulator: Simulator) -> AsyncIterator[str]:
    simulator.seconds_per_token = 0.01
    simulator.answer_tokens = 8
    async with serve(create_app(make_settings(ollama_stuck_after=STUCK_AFTER))) as url:
        yield url

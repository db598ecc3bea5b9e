"""A service that is slow and then disconnects during a stream, as shown by both pages."""

import asyncio

import pytest
from playwright.async_api import expect

from simulator import Fault, Simulator
from tests.browser.conftest import Tab
from tests.clients.nextjs.chat_page import SOON, alerts, answer, open_page, say, text_of
from tests.clients.nextjs.next_app import run_next
from tests.service_process import run_service

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("path", ["/chat", "/ai"])
async def test_the_text_is_kept_and_the_lost_connection_is_shown(
    path: str, simulator: Simulator, tab: Tab, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("lost")
    simulator.seconds_per_token = 0.01
    async with (
        run_service(simulator.url, folder, sse_ping_interval=0.1) as service,
        run_next(service.url, folder) as app,
    ):
        page = await open_page(tab, app, path)
        simulator.fault(Fault(delay_seconds=0.5, endless=True))
        await say(page, "Go on for ever.")
        await expect(text_of(answer(page))).to_contain_text("again")
        assert await alerts(page).count() == 0
        service.process.kill()
        await expect(alerts(page)).to_have_text("The connection to the server was lost.")
        await expect(text_of(answer(page))).to_contain_text("again")
        await expect(page.get_by_role("button", name="Send")).to_be_visible()
    call = await simulator.received("/api/chat")
    await asyncio.wait_for(call.ended_event.wait(), SOON)

"""The page that uses the AI SDK, on the service's `/v1`."""

import asyncio

import aiohttp
import pytest
from playwright.async_api import expect

from simulator import Fault, Simulator
from tests.browser.conftest import Tab
from tests.clients.nextjs.chat_page import SOON, alerts, answer, open_page, say, text_of
from tests.clients.nextjs.next_app import NextApp

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_text_grows_while_the_model_writes(app: NextApp, tab: Tab, simulator: Simulator) -> None:
    simulator.seconds_per_token = 0.03
    page = await open_page(tab, app, "/ai")
    await say(page, "Tell me about the waiver wire.")
    text, lengths = text_of(answer(page)), []
    await expect(text).to_contain_text("[simulated gpt-oss]")
    while await page.locator("[aria-busy=true]").count():
        lengths.append(len(await text.text_content() or ""))
        await asyncio.sleep(0.1)
    assert len(set(lengths)) >= 5
    assert lengths == sorted(lengths)
    await expect(answer(page)).to_contain_text("Answered by gpt-oss")
    assert "fallback" not in (await answer(page).text_content() or "")
    assert tab.trouble == []
    assert tab.requests_elsewhere(app.url) == []
    assert app.log == ""


async def test_reasoning_is_collapsed(app: NextApp, tab: Tab, simulator: Simulator) -> None:
    page = await open_page(tab, app, "/ai")
    await say(page, "Think.")
    await expect(answer(page)).to_contain_text("Answered by gpt-oss")
    reasoning = answer(page).get_by_text("[simulated thinking]")
    await expect(reasoning).to_be_hidden()
    await answer(page).get_by_text("Reasoning").click()
    await expect(reasoning).to_be_visible()
    assert len(simulator.calls_to("/api/chat")) == 1


async def test_a_second_message_includes_the_first_response(app: NextApp, tab: Tab, simulator: Simulator) -> None:
    page = await open_page(tab, app, "/ai", "llama3.1")
    for text in ("One.", "Two."):
        await say(page, text)
        await expect(page.get_by_role("article").last).to_contain_text("Answered by llama3.1")
        await expect(page.get_by_role("button", name="Send")).to_be_visible()
    second = await asyncio.wait_for(simulator.received("/api/chat", 2), SOON)
    assert [message["role"] for message in second.body["messages"]] == ["user", "assistant", "user"]
    assert second.body["messages"][1]["content"].startswith("[simulated llama3.1]")


async def test_stop_stops_the_model(app: NextApp, tab: Tab, simulator: Simulator) -> None:
    simulator.seconds_per_token = 0.01
    simulator.fault(Fault(endless=True))
    page = await open_page(tab, app, "/ai")
    await say(page, "Go on for ever.")
    await expect(text_of(answer(page))).to_contain_text("again")
    call = await simulator.received("/api/chat")
    assert call.outcome is None
    await page.get_by_role("button", name="Stop").click()
    await asyncio.wait_for(call.ended_event.wait(), SOON)
    assert call.outcome == "client_gone"
    await expect(page.get_by_role("button", name="Send")).to_be_visible()
    await expect(alerts(page)).to_have_count(0)
    assert app.log == ""


async def test_stop_before_the_first_token_stops_the_model(app: NextApp, tab: Tab, simulator: Simulator) -> None:
    simulator.fault(Fault(hang=True))
    page = await open_page(tab, app, "/ai")
    await say(page, "Hello.")
    call = await asyncio.wait_for(simulator.received("/api/chat"), SOON)
    await page.keyboard.press("Escape")
    await asyncio.wait_for(call.ended_event.wait(), SOON)
    assert call.outcome == "client_gone"
    assert app.log == ""


async def test_a_fallback_is_shown(app: NextApp, tab: Tab, simulator: Simulator) -> None:
    simulator.fault(Fault(status=404, message="model 'llama3.1' not found"))
    page = await open_page(tab, app, "/ai", "llama3.1")
    await say(page, "Hello.")
    await expect(answer(page)).to_contain_text("Answered by gpt-oss (fallback)")


async def test_a_failure_during_the_stream_keeps_the_text_and_is_shown(
    app: NextApp, tab: Tab, simulator: Simulator
) -> None:
    simulator.fault(Fault(error_after=20, message="the runner has crashed"))
    page = await open_page(tab, app, "/ai")
    await say(page, "Hello.")
    await expect(alerts(page)).to_contain_text("the runner has crashed")
    await expect(text_of(answer(page))).to_contain_text("[simulated gpt-oss]")
    assert len(app.log.splitlines()) == 1


async def test_a_failure_before_the_first_token_shows_the_detail_of_the_service(
    app: NextApp, tab: Tab, simulator: Simulator
) -> None:
    simulator.fault(Fault(status=400, message="this model cannot chat"))
    page = await open_page(tab, app, "/ai")
    await say(page, "Hello.")
    await expect(alerts(page)).to_contain_text("this model cannot chat")
    assert len(simulator.calls_to("/api/chat")) == 1


async def test_an_unreachable_service_is_shown_as_a_sentence(app_without_service: NextApp, tab: Tab) -> None:
    page = tab.page
    await page.goto(f"{app_without_service.url}/ai")
    await expect(alerts(page)).to_have_text("The language model service cannot be reached.")
    await say(page, "Hello.")
    await expect(alerts(page)).to_have_text(["The language model service cannot be reached."] * 2)
    assert app_without_service.log == "chat failed: The language model service cannot be reached.\n"


@pytest.mark.parametrize("body", ["", "{", "null", '{"model": "gpt-oss"}', '{"model": "gpt-oss", "messages": [{}]}'])
async def test_a_body_without_a_conversation_is_rejected_with_a_message(
    body: str, app: NextApp, simulator: Simulator
) -> None:
    async with aiohttp.ClientSession() as client, client.post(f"{app.url}/api/ai", data=body) as response:
        assert response.status == 422
        assert await response.text() == "The body must be a JSON object with messages and a model."
    assert simulator.calls == []
    assert app.log == ""

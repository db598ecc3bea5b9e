"""The page that reads the service's own event stream."""

import asyncio

import pytest
from playwright.async_api import expect

from simulator import Fault, Simulator
from tests.browser.conftest import Tab
from tests.clients.nextjs.chat_page import SOON, alerts, answer, open_page, say, text_of
from tests.clients.nextjs.next_app import NextApp

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_text_grows_while_the_model_writes(app: NextApp, tab: Tab, simulator: Simulator) -> None:
    simulator.seconds_per_token = 0.03
    page = await open_page(tab, app, "/chat")
    await say(page, "Tell me about the waiver wire.")
    text, lengths = text_of(answer(page)), []
    await expect(text).to_contain_text("[simulated gpt-oss]")
    while await page.locator("[aria-busy=true]").count():
        lengths.append(len(await text.text_content() or ""))
        await asyncio.sleep(0.1)
    assert len(set(lengths)) >= 5
    assert lengths == sorted(lengths)
    await expect(answer(page)).to_contain_text("Answered by gpt-oss")
    assert tab.trouble == []
    assert tab.requests_elsewhere(app.url) == []
    assert app.log == ""


async def test_reasoning_is_collapsed(app: NextApp, tab: Tab, simulator: Simulator) -> None:
    page = await open_page(tab, app, "/chat")
    await say(page, "Think.")
    await expect(answer(page)).to_contain_text("Answered by gpt-oss")
    reasoning = answer(page).get_by_text("[simulated thinking]")
    await expect(reasoning).to_be_hidden()
    await answer(page).get_by_text("Reasoning").click()
    await expect(reasoning).to_be_visible()
    assert len(simulator.calls_to("/api/chat")) == 1


async def test_a_second_message_includes_the_first_response(app: NextApp, tab: Tab, simulator: Simulator) -> None:
    page = await open_page(tab, app, "/chat", "llama3.1")
    for text in ("One.", "Two."):
        await say(page, text)
        await expect(answer(page)).to_contain_text("Answered by llama3.1")
        await expect(page.get_by_role("button", name="Send")).to_be_visible()
    second = await asyncio.wait_for(simulator.received("/api/chat", 2), SOON)
    assert [message["role"] for message in second.body["messages"]] == ["user", "assistant", "user"]
    await expect(page.get_by_label("Your message")).to_be_focused()


@pytest.mark.parametrize("by", ["button", "Escape"])
async def test_stop_stops_the_model(by: str, app: NextApp, tab: Tab, simulator: Simulator) -> None:
    simulator.seconds_per_token = 0.01
    simulator.fault(Fault(endless=True))
    page = await open_page(tab, app, "/chat")
    await say(page, "Go on for ever.")
    await expect(text_of(answer(page))).to_contain_text("again")
    call = await simulator.received("/api/chat")
    assert call.outcome is None
    await (page.get_by_role("button", name="Stop").click() if by == "button" else page.keyboard.press("Escape"))
    await asyncio.wait_for(call.ended_event.wait(), SOON)
    assert call.outcome == "client_gone"
    await expect(answer(page)).to_contain_text("stopped")
    await expect(alerts(page)).to_have_count(0)
    assert app.log == ""


async def test_leaving_the_page_stops_the_model(app: NextApp, tab: Tab, simulator: Simulator) -> None:
    simulator.seconds_per_token = 0.01
    simulator.fault(Fault(endless=True))
    page = await open_page(tab, app, "/chat")
    await say(page, "Go on for ever.")
    call = await asyncio.wait_for(simulator.received("/api/chat"), SOON)
    await page.get_by_role("link", name="Start").click()
    await asyncio.wait_for(call.ended_event.wait(), SOON)
    assert call.outcome == "client_gone"


async def test_a_fallback_is_shown(app: NextApp, tab: Tab, simulator: Simulator) -> None:
    simulator.fault(Fault(status=404, message="model 'llama3.1' not found"))
    page = await open_page(tab, app, "/chat", "llama3.1")
    await say(page, "Hello.")
    await expect(answer(page)).to_contain_text("Answered by gpt-oss (fallback)")


async def test_a_failure_during_the_stream_keeps_the_text_and_is_shown(
    app: NextApp, tab: Tab, simulator: Simulator
) -> None:
    simulator.fault(Fault(error_after=20, message="the runner has crashed"))
    page = await open_page(tab, app, "/chat")
    await say(page, "Hello.")
    await expect(alerts(page)).to_contain_text("the runner has crashed")
    await expect(answer(page)).to_contain_text("[simulated gpt-oss]")


async def test_an_unreachable_service_is_shown_as_a_sentence(app_without_service: NextApp, tab: Tab) -> None:
    page = tab.page
    await page.goto(f"{app_without_service.url}/chat")
    await expect(alerts(page)).to_have_text("The language model service cannot be reached.")
    await say(page, "Hello.")
    await expect(alerts(page)).to_have_text(["The language model service cannot be reached."] * 2)


@pytest.mark.parametrize("path", ["", "chat", "ai"])
async def test_a_page_fits_on_a_phone(path: str, app: NextApp, tab: Tab) -> None:
    await tab.page.set_viewport_size({"width": 360, "height": 640})
    await tab.page.goto(f"{app.url}/{path}")
    assert await tab.page.evaluate("() => document.documentElement.scrollWidth") <= 360
    await expect(tab.page.get_by_role("heading", level=1)).to_be_in_viewport()


async def test_on_a_phone_the_end_and_a_failure_are_visible(app: NextApp, tab: Tab, simulator: Simulator) -> None:
    await tab.page.set_viewport_size({"width": 360, "height": 640})
    page = await open_page(tab, app, "/chat")
    for text in ("One.", "Two.", "Three."):
        await say(page, text)
        await expect(page.get_by_role("article").last).to_contain_text("Answered by gpt-oss")
    simulator.fault(Fault(status=400, message="this model cannot chat"))
    await say(page, "Four.")
    await expect(alerts(page)).to_be_in_viewport()
    last = await page.get_by_role("article").last.bounding_box()
    composer = await page.locator("form").bounding_box()
    assert last is not None
    assert composer is not None
    assert 0 < last["y"] < last["y"] + last["height"] <= composer["y"] + 1

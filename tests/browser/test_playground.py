import asyncio
import json

import pytest
from playwright.async_api import Browser, expect

from main import create_app
from simulator import Fault, Simulator
from tests.browser.conftest import Tab, open_playground, say
from tests.conftest import MakeSettings
from tests.serving import serve

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOON = 10.0
REAL_OLLAMA = Fault(
    path="/api/version", body=b'{"version": "0.24.0"}', content_type="application/json", status=200, times=None
)
EVIL = '<img src="x" onerror="document.title=\'owned\'"><script>document.title="owned"</script>'


async def test_text_appears_while_it_is_generated(url: str, tab: Tab, simulator: Simulator) -> None:
    simulator.seconds_per_token = 0.05
    page = await open_playground(tab, url)
    await page.get_by_label("System message").fill("Be brief.")
    await say(page, "Tell me about the waiver wire.")
    text, lengths = page.locator(".answer .text"), []
    await expect(text).to_contain_text("[simulated gpt-oss]")
    while await page.locator(".answer[data-state=running]").count():
        lengths.append(len(await text.text_content() or ""))
        await asyncio.sleep(0.1)
    assert len(set(lengths)) >= 3
    assert lengths == sorted(lengths)
    await expect(page.locator(".answer .thought")).to_contain_text("[simulated thinking]")
    assert "thinking" not in (await text.text_content() or "")
    for figure in ("First token", "Tokens/s", "Total", "finished"):
        await expect(page.locator(".answer .figures")).to_contain_text(figure)
    (call,) = simulator.calls_to("/api/chat")
    assert [message["role"] for message in call.body["messages"]] == ["system", "user"]
    assert tab.trouble == []
    assert tab.requests_elsewhere(url) == []


async def test_a_second_message_includes_the_first_response(url: str, tab: Tab, simulator: Simulator) -> None:
    page = await open_playground(tab, url)
    await say(page, "One.")
    await expect(page.locator(".answer[data-state=ended]")).to_have_count(1)
    await say(page, "Two.")
    await expect(page.locator(".answer[data-state=ended]")).to_have_count(2)
    _, second = simulator.calls_to("/api/chat")
    assert [message["role"] for message in second.body["messages"]] == ["user", "assistant", "user"]


async def test_stop_stops_the_generation(url: str, tab: Tab, simulator: Simulator) -> None:
    simulator.seconds_per_token = 0.02
    simulator.fault(Fault(endless=True))
    page = await open_playground(tab, url)
    await say(page, "Go on for ever.")
    await expect(page.locator(".answer .text")).to_contain_text("again")
    call = await simulator.received("/api/chat")
    assert call.outcome is None
    await page.get_by_role("button", name="Stop").click()
    async with asyncio.timeout(SOON):
        await call.ended_event.wait()
    assert call.outcome == "client_gone"
    await expect(page.locator(".answer .figures")).to_contain_text("stopped")
    await expect(page.get_by_role("button", name="Stop")).to_be_hidden()


async def test_a_fallback_is_shown(url: str, tab: Tab, simulator: Simulator) -> None:
    simulator.remove("llama3.1")
    page = await open_playground(tab, url)
    await page.get_by_label("Model", exact=True).select_option("llama3.1")
    await say(page, "Who answers?")
    await expect(page.locator(".answered-by")).to_have_text("gpt-ossfallback for llama3.1")


async def test_html_in_a_response_is_shown_as_text(url: str, tab: Tab, simulator: Simulator) -> None:
    line = {"model": "gpt-oss", "message": {"role": "assistant", "content": EVIL, "thinking": EVIL}, "done": True}
    answer = json.dumps(line | {"done_reason": "stop"}).encode() + b"\n"
    simulator.fault(Fault(status=200, body=answer, content_type="application/x-ndjson"))
    page = await open_playground(tab, url)
    await say(page, EVIL)
    for place in (".said p", ".answer .text", ".answer .thought"):
        await expect(page.locator(place)).to_have_text(EVIL)
    assert await page.locator(".messages img, .messages script").count() == 0
    assert "owned" not in await page.title()
    assert tab.trouble == []


async def test_an_error_message_of_the_service_is_shown(url: str, tab: Tab, simulator: Simulator) -> None:
    simulator.fault(Fault(status=400, message="this model cannot do that"))
    simulator.fault(Fault(error_after=12))
    page = await open_playground(tab, url)
    await say(page, "Before the first token.")
    await expect(page.get_by_role("alert")).to_contain_text("Ollama rejected the request: this model cannot do that")
    await expect(page.get_by_label("Your message")).to_have_value("Before the first token.")
    await say(page, "In the middle.")
    last = page.locator(".answer").last
    await expect(last.get_by_role("alert")).to_contain_text("Ollama failed")
    await expect(last.locator(".text")).to_contain_text("[simulated")


async def test_similarities_are_shown_as_a_heat_map(url: str, tab: Tab) -> None:
    page = await open_playground(tab, url)
    await page.get_by_role("tab", name="Compare texts").click()
    await page.get_by_label("Texts, one per line").fill("the same words\nthe same words\nsomething else altogether")
    await page.get_by_role("button", name="Compare").click()
    await expect(page.get_by_role("button", name="Compare")).to_be_focused()
    cells = page.locator(".heat tbody td")
    await expect(cells).to_have_count(9)
    values = [float(text) for text in await cells.all_text_contents()]
    assert values[0] == values[1] == 1.0
    assert values[2] < 0.9
    colours = [await cell.evaluate("cell => getComputedStyle(cell).backgroundColor") for cell in await cells.all()]
    assert colours[0] == colours[1] != colours[2]
    await expect(page.locator("#comparison-result")).to_contain_text("Closest: 1 and 2 (1.00)")
    await expect(page.get_by_role("button", name="Compare")).to_be_focused()
    assert tab.trouble == []


async def test_a_key_is_requested_and_stored_for_the_tab(make_settings: MakeSettings, tab: Tab) -> None:
    async with serve(create_app(make_settings(api_keys="correct-horse"))) as url:
        page = tab.page
        await page.goto(f"{url}/playground")
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("API key").fill("wrong")
        await dialog.get_by_role("button", name="Use this key").click()
        await expect(dialog).to_contain_text("This key is not valid.")
        await dialog.get_by_label("API key").fill("correct-horse")
        await dialog.get_by_role("button", name="Use this key").click()
        await expect(page.locator("#model option")).not_to_have_count(1)
        await say(page, "Hello.")
        await expect(page.locator(".answer .text")).to_contain_text("[simulated gpt-oss]")
        assert await page.evaluate("() => Object.values(sessionStorage)") == ["correct-horse"]
        assert await page.evaluate("() => localStorage.length") == 0
        await page.reload()
        await expect(page.locator("#model option")).not_to_have_count(1)
        await expect(dialog).to_be_hidden()


async def test_the_bar_shows_health_and_queue(make_settings: MakeSettings, tab: Tab, simulator: Simulator) -> None:
    simulator.fault(REAL_OLLAMA)
    simulator.fault(Fault(hang=True))
    async with serve(create_app(make_settings())) as url:
        page = await open_playground(tab, url)
        await expect(page.locator("#health")).to_contain_text("Healthy")
        await expect(page.locator("#health-ollama")).to_contain_text("Ollama 0.24.0")
        await expect(page.locator("#health-simulator")).to_be_hidden()
        await say(page, "Take your time.")
        await expect(page.locator("#health-queue")).to_have_text("1 running · 0 waiting")
        await page.get_by_role("button", name="Stop").click()
        await simulator.stop()
        await expect(page.locator("#health-text")).to_have_text("Ollama is down")


async def test_the_bar_says_what_is_not_up_in_its_own_words(make_settings: MakeSettings, tab: Tab) -> None:
    async def check() -> bool:
        return False

    app = create_app(make_settings())
    app.state.component_checks.register("crewai_agents", check, up="initialized", down="not_initialized")
    async with serve(app) as url:
        page = await open_playground(tab, url)
        await expect(page.locator("#health-text")).to_have_text("crewai_agents is not initialized")


async def test_the_simulator_is_not_shown_as_a_healthy_ollama(url: str, tab: Tab) -> None:
    page = await open_playground(tab, url)
    await expect(page.locator("#health-simulator")).to_have_text("Simulator: responses are placeholders")
    await expect(page.locator("#health-simulator")).to_be_visible()
    await expect(page.locator("#health")).to_have_attribute("data-state", "simulated")
    await expect(page.locator("#health")).not_to_contain_text("Healthy")
    await expect(page.locator(".dot")).to_be_hidden()


async def test_the_queue_is_updated_when_a_response_begins_and_ends(url: str, tab: Tab, simulator: Simulator) -> None:
    simulator.fault(Fault(stall_after=12))
    page = await open_playground(tab, url)
    queue = page.locator("#health-queue")
    await expect(queue).to_have_text("0 running · 0 waiting")
    # The page's clock is paused, so that nothing is polled on a timer.
    await page.clock.install(time=0)
    await page.reload()
    await expect(queue).to_have_text("0 running · 0 waiting")
    await page.clock.pause_at(60_000)
    await say(page, "Stop in the middle.")
    await expect(queue).to_have_text("1 running · 0 waiting")
    call = await simulator.received("/api/chat")
    await page.keyboard.press("Escape")
    async with asyncio.timeout(SOON):
        await call.ended_event.wait()
    await page.clock.run_for(500)
    await expect(queue).to_have_text("0 running · 0 waiting")


async def test_the_focus_stays_in_the_composer(url: str, tab: Tab, simulator: Simulator) -> None:
    simulator.fault(Fault(stall_after=12))
    page = await open_playground(tab, url)
    message = page.get_by_label("Your message")
    await say(page, "A click on Send.")
    await expect(message).to_be_focused()
    await expect(page.locator(".answer .text")).to_contain_text("[simulated")
    await page.get_by_role("button", name="Stop").click()
    await expect(page.locator(".answer .figures")).to_contain_text("stopped")
    await expect(message).to_be_focused()
    await say(page, "Until the end.")
    await expect(page.locator(".answer[data-state=ended]")).to_have_count(2)
    await expect(message).to_be_focused()


async def test_on_a_touch_screen_the_focus_stays_in_the_composer_too(
    url: str, browser: Browser, simulator: Simulator
) -> None:
    simulator.fault(Fault(stall_after=12))
    async with await browser.new_context(has_touch=True, is_mobile=True) as context:
        tab = Tab(await context.new_page())
        page = await open_playground(tab, url)
        await page.get_by_label("Your message").fill("A tap on Send.")
        await page.get_by_role("button", name="Send").tap()
        await expect(page.locator(".answer .text")).to_contain_text("[simulated")
        await expect(page.get_by_role("button", name="Send")).to_be_focused()
        await page.get_by_role("button", name="Stop").tap()
        await expect(page.locator(".answer .figures")).to_contain_text("stopped")
        assert await page.evaluate("() => document.activeElement.closest('#composer') !== null")


async def test_the_focus_returns_to_the_composer_after_a_response(url: str, tab: Tab, simulator: Simulator) -> None:
    simulator.seconds_per_token = 0.05
    page = await open_playground(tab, url)
    await say(page, "Focus the Stop button.")
    await page.get_by_role("button", name="Stop").focus()
    await expect(page.locator(".answer[data-state=ended]")).to_have_count(1)
    await expect(page.get_by_label("Your message")).to_be_focused()


async def test_escape_stops_the_generation(url: str, tab: Tab, simulator: Simulator) -> None:
    simulator.seconds_per_token = 0.02
    simulator.fault(Fault(endless=True))
    page = await open_playground(tab, url)
    await say(page, "Go on for ever.")
    call = await simulator.received("/api/chat")
    await page.get_by_label("Temperature").focus()
    await page.keyboard.press("Escape")
    async with asyncio.timeout(SOON):
        await call.ended_event.wait()
    assert call.outcome == "client_gone"
    await expect(page.get_by_label("Your message")).to_be_focused()
    await expect(page.locator("#announcement")).to_have_text("The response was stopped.")


async def test_enter_sends_and_shift_enter_adds_a_line(url: str, tab: Tab, simulator: Simulator) -> None:
    simulator.fault(Fault(stall_after=12))
    page = await open_playground(tab, url)
    message = page.get_by_label("Your message")
    await message.press_sequentially("One")
    await message.press("Shift+Enter")
    await message.press_sequentially("two")
    await message.press("Enter")
    await expect(message).to_have_value("")
    call = await simulator.received("/api/chat")
    assert call.body["messages"] == [{"role": "user", "content": "One\ntwo"}]
    await message.press_sequentially("Too early")
    await message.press("Enter")
    await expect(message).to_have_value("Too early")
    assert len(simulator.calls_to("/api/chat")) == 1

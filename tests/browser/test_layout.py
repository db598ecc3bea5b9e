"""The layout of the pages on phones and wide screens, in light and dark mode."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from main import create_app
from simulator import Simulator
from tests.browser.conftest import PATIENCE_MS, Tab, chat_answer, open_playground, say
from tests.conftest import MakeSettings
from tests.serving import serve

pytestmark = pytest.mark.asyncio(loop_scope="session")

PHONE = {"width": 390, "height": 844}
LANDSCAPE = {"width": 844, "height": 390}
WIDE = {"width": 1280, "height": 800}
LONG = "A paragraph of an answer that is longer than the screen is high.\n\n" * 60
# Positions of the parts of the page, and how much of the conversation is visible below the composer.
PARTS = """() => {
    const rect = (selector) => document.querySelector(selector).getBoundingClientRect().toJSON();
    const composer = rect("#composer");
    let below = 0;
    for (let y = composer.bottom + 1; y < innerHeight; y += 1) {
        for (let x = 1; x < innerWidth; x += 20) below += document.elementFromPoint(x, y).closest("#messages") ? 1 : 0;
    }
    const { scrollWidth, scrollHeight } = document.scrollingElement;
    return { composer, messages: rect("#messages"), below, width: scrollWidth, height: scrollHeight };
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def dark(browser: Browser) -> AsyncIterator[Page]:
    """An empty page in dark mode."""
    async with await browser.new_context(color_scheme="dark") as context:
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        yield page


async def brightness(page: Page, selector: str, name: str) -> float:
    """Return the brightness of a color of an element, 0 to 255; for a background, the first one not transparent."""
    value: float = await page.locator(selector).first.evaluate(
        """(element, name) => {
            let colour = getComputedStyle(element)[name];
            while (colour === "rgba(0, 0, 0, 0)" && element.parentElement) {
                element = element.parentElement;
                colour = getComputedStyle(element)[name];
            }
            const [red, green, blue] = colour.match(/[\\d.]+/g).map(Number);
            return 0.3 * red + 0.6 * green + 0.1 * blue;
        }""",
        name,
    )
    return value


@pytest.mark.parametrize("size", [PHONE, LANDSCAPE, WIDE], ids=["phone", "landscape", "wide"])
async def test_the_composer_is_below_the_conversation(
    url: str, tab: Tab, simulator: Simulator, size: dict[str, Any]
) -> None:
    await tab.page.set_viewport_size(size)  # type: ignore[arg-type]
    simulator.fault(chat_answer(LONG))
    page = await open_playground(tab, url)
    await say(page, "Be long.")
    await expect(page.locator(".answer[data-state=ended]")).to_have_count(1)
    for position in (0, 500, 1_000_000):
        await page.locator("#messages").evaluate("(box, top) => (box.scrollTop = top)", position)
        parts = await page.evaluate(PARTS)
        assert parts["messages"]["bottom"] <= parts["composer"]["top"]
        assert parts["messages"]["height"] > 80
        assert parts["composer"]["bottom"] <= size["height"]
        assert parts["below"] == 0
        assert parts["width"] <= size["width"]
        assert parts["height"] <= size["height"]
    await expect(page.get_by_role("button", name="Copy response")).to_be_in_viewport()


@pytest.mark.parametrize("name", ["Compare texts", "Code"])
async def test_nothing_is_wider_than_a_phone(url: str, tab: Tab, name: str) -> None:
    await tab.page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page = await open_playground(tab, url)
    await page.get_by_role("tab", name=name).click()
    if name == "Compare texts":
        await page.get_by_role("button", name="Compare").click()
        await expect(page.locator(".heat")).to_be_visible()
    assert await page.evaluate("() => document.scrollingElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize("width", [360, 390, 600])
async def test_the_prompt_has_most_of_the_width_of_a_narrow_window(url: str, tab: Tab, width: int) -> None:
    await tab.page.set_viewport_size({"width": width, "height": 844})
    page = await open_playground(tab, url)
    prompt = await page.get_by_label("Your message").bounding_box()
    assert prompt is not None
    assert prompt["width"] > 0.6 * width


@pytest.mark.parametrize("width", [320, 390])
async def test_an_open_operation_is_not_wider_than_a_phone(url: str, tab: Tab, width: int) -> None:
    await tab.page.set_viewport_size({"width": width, "height": 844})
    await tab.page.goto(f"{url}/docs")
    generate = tab.page.locator("#operations-ollama-generate")
    await generate.locator(".opblock-summary-control").click()
    await expect(generate.locator(".responses-table").first).to_be_visible()
    assert await tab.page.evaluate("() => document.scrollingElement.scrollWidth") <= width


async def test_settings_leave_room_for_the_composer_on_a_phone(url: str, tab: Tab) -> None:
    await tab.page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page = await open_playground(tab, url)
    await page.get_by_text("Model and settings").click()
    await expect(page.get_by_label("System message")).to_be_visible()
    await expect(page.get_by_role("button", name="Send")).to_be_in_viewport()


@pytest.mark.parametrize(("docs", "playground"), [(True, True), (True, False), (False, True), (False, False)])
async def test_no_card_of_the_landing_page_is_alone_in_its_row(
    make_settings: MakeSettings, tab: Tab, docs: bool, playground: bool
) -> None:
    settings = make_settings(docs_enabled=docs, playground_enabled=playground)
    async with serve(create_app(settings)) as url:
        await tab.page.set_viewport_size(WIDE)  # type: ignore[arg-type]
        await tab.page.goto(url)
        box = await tab.page.locator(".cards").bounding_box()
        rows: dict[float, float] = {}
        for card in await tab.page.locator(".cards li").all():
            place = await card.bounding_box()
            assert place is not None
            rows[place["y"]] = max(rows.get(place["y"], 0), place["x"] + place["width"])
        assert box is not None
        assert {round(right) for right in rows.values()} == {round(box["x"] + box["width"])}


@pytest.mark.parametrize(("path", "content"), [("/docs", ".opblock-tag"), ("/redoc", "h1"), ("/playground", "h1")])
async def test_pages_have_a_dark_mode(url: str, dark: Page, path: str, content: str) -> None:
    await dark.goto(f"{url}{path}")
    await dark.locator(content).first.wait_for()
    assert await brightness(dark, content, "color") > 150
    assert await brightness(dark, content, "backgroundColor") < 60
    assert await brightness(dark, ".bar", "backgroundColor") < 60


async def test_all_of_redoc_is_dark_and_follows_changes(url: str, dark: Page) -> None:
    await dark.set_viewport_size(WIDE)  # type: ignore[arg-type]
    await dark.goto(f"{url}/redoc")
    await dark.get_by_role("heading", name="Continue a conversation").wait_for()
    bright = await dark.evaluate(
        """() => [...document.querySelectorAll("#redoc *")].filter((element) => {
            const colour = getComputedStyle(element).backgroundColor.match(/[\\d.]+/g).map(Number);
            const [red, green, blue, alpha = 1] = colour;
            const { width, height } = element.getBoundingClientRect();
            return alpha > 0.5 && red + green + blue > 3 * 150 && width * height > 4000;
        }).map((element) => element.className)"""
    )
    assert bright == []
    await dark.emulate_media(color_scheme="light")
    await dark.get_by_role("heading", name="Continue a conversation").wait_for()
    await expect(dark.locator("#redoc h1").first).to_have_css("color", "rgb(51, 51, 51)")
    assert await brightness(dark, "body", "backgroundColor") > 200

"""The playground shows the capabilities and the context of the selected model."""

import base64

import pytest
from playwright.async_api import expect

from simulator import Simulator
from tests.api import PIXEL
from tests.browser.conftest import Tab, open_playground, say

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG_TEXT = "who should start this week " * 900


async def install(tab: Tab, url: str, simulator: Simulator, name: str, capabilities: list[str]) -> None:
    """Install a model and refresh the service's model list."""
    simulator.install(name, capabilities)
    await tab.page.request.get(f"{url}/api/ollama/models?force_refresh=true")


async def test_only_supported_controls_are_shown(url: str, tab: Tab, simulator: Simulator) -> None:
    await install(tab, url, simulator, "llava", ["completion", "vision"])
    page = await open_playground(tab, url)
    thinking, image = page.get_by_label("Thinking"), page.get_by_role("button", name="Image")
    await expect(page.locator("#model-facts")).to_contain_text("context of 131,072 tokens · calls tools · thinks")
    await expect(thinking).to_be_visible()
    await expect(image).to_be_hidden()
    await thinking.select_option("high")
    await page.get_by_label("Model", exact=True).select_option("llava")
    await expect(image).to_be_visible()
    await expect(thinking).to_be_hidden()
    await page.locator("#image").set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": base64.b64decode(PIXEL)}
    )
    await expect(page.get_by_role("button", name="Image (1)")).to_be_visible()
    await say(page, "What is this?")
    await expect(page.locator(".said small")).to_have_text("a.png")
    call = await simulator.received("/api/chat")
    assert call.body["messages"][-1]["images"] == [PIXEL]
    assert "think" not in call.body
    assert tab.trouble == []


async def test_the_context_in_use_is_shown_as_a_bar(url: str, tab: Tab) -> None:
    page = await open_playground(tab, url)
    bar = page.get_by_label("Context in use")
    await expect(bar).to_be_hidden()
    await say(page, "Tell me about the waiver wire.")
    await expect(page.locator("#room-text")).to_contain_text("of 4,096 tokens are left")
    assert 0 < await bar.evaluate("meter => meter.value") < await bar.evaluate("meter => meter.max")
    await page.get_by_role("button", name="New conversation").click()
    await expect(page.locator("#room-text")).to_have_text("4,096 of 4,096 tokens are left")
    await say(page, LONG_TEXT)
    await expect(page.locator(".answer .warning")).to_contain_text("the model read only a part of it")
    assert tab.trouble == []


async def test_texts_are_compared_with_an_input_type(url: str, tab: Tab, simulator: Simulator) -> None:
    await install(tab, url, simulator, "acme-embedder", ["embedding"])
    page = await open_playground(tab, url)
    await page.get_by_role("tab", name="Compare texts").click()
    await page.get_by_label("Input type").select_option("query")
    await expect(page.locator("#prefix-note")).to_have_text("Each text gets the prefix “search_query:”.")
    await page.get_by_role("button", name="Compare").click()
    await expect(page.locator("#comparison-result .figures")).to_contain_text("search_query:")
    assert all(text.startswith("search_query: ") for text in simulator.calls_to("/api/embed")[-1].body["input"])
    await page.get_by_label("Embedding model").select_option("acme-embedder")
    await expect(page.locator("#prefix-note")).to_contain_text("No prefix is known")
    await page.get_by_role("button", name="Compare").click()
    await expect(page.locator("#comparison-result .warning")).to_contain_text("No prefix is known")
    assert tab.trouble == []

"""Actions and queries that work on both chat pages."""

from playwright.async_api import Locator, Page

from tests.browser.conftest import Tab
from tests.clients.nextjs.next_app import NextApp

SOON = 3.0


async def open_page(tab: Tab, app: NextApp, path: str, model: str = "gpt-oss") -> Page:
    """Open a chat page and select a model."""
    await tab.page.goto(f"{app.url}{path}")
    await tab.page.get_by_label("Model").select_option(model)
    return tab.page


async def say(page: Page, text: str) -> None:
    """Send a message."""
    await page.get_by_label("Your message").fill(text)
    await page.get_by_role("button", name="Send").click()


def answer(page: Page) -> Locator:
    """Return the element of the last response."""
    return page.get_by_role("article", name="Answer").last


def text_of(answer: Locator) -> Locator:
    """Return the text of a response, without its reasoning and footer."""
    return answer.locator("> .text")


def alerts(page: Page) -> Locator:
    """Return the error messages that are shown."""
    return page.locator("main").get_by_role("alert")

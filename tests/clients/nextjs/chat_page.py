"""What the tests do on both chat pages."""

from playwright.async_api import Locator, Page

from tests.browser.conftest import Tab
from tests.clients.nextjs.next_app import NextApp

SOON = 3.0


async def open_page(tab: Tab, app: NextApp, path: str, model: str = "gpt-oss") -> Page:
    """Open a chat page and choose a model there."""
    await tab.page.goto(f"{app.url}{path}")
    await tab.page.get_by_label("Model").select_option(model)
    return tab.page


async def say(page: Page, text: str) -> None:
    """Send a message."""
    await page.get_by_label("Your message").fill(text)
    await page.get_by_role("button", name="Send").click()


def answer(page: Page) -> Locator:
    """Return the last answer."""
    return page.get_by_role("article", name="Answer").last


def text_of(answer: Locator) -> Locator:
    """Return the text of an answer, without its reasoning and the line below."""
    return answer.locator("> .text")


def alerts(page: Page) -> Locator:
    """Return the failures shown."""
    return page.locator("main").get_by_role("alert")

import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright, expect

from main import create_app
from simulator import Fault, Simulator
from tests.conftest import MakeSettings
from tests.serving import serve

FLAGS = [
    "--renderer-process-limit=1",
    "--disable-site-isolation-trials",
    "--disable-features=IsolateOrigins,site-per-process,Translate,PaintHolding",
    "--disable-extensions",
    "--mute-audio",
    "--no-sandbox",  # for containers; the tests open only the service
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 10_000


@dataclass
class Tab:
    """A browser page, with its errors and requests."""

    page: Page
    trouble: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)

    def watch(self) -> None:
        def console(message: ConsoleMessage) -> None:
            if message.type in {"error", "warning"}:
                self.trouble.append(f"console: {message.text}")

        def failed(request: Request) -> None:
            if request.url.startswith("blob:"):
                return  # Redoc's search worker, when the page is left before it has loaded
            self.trouble.append(f"failed: {request.url} {request.failure}")

        self.page.on("console", console)
        self.page.on("requestfailed", failed)
        self.page.on("pageerror", lambda error: self.trouble.append(f"error: {error}"))
        self.page.on("request", lambda request: self.urls.append(request.url))

    def requests_elsewhere(self, url: str) -> list[str]:
        """Return the requests to other servers."""
        return [asked for asked in self.urls if not asked.startswith((f"{url}/", "blob:", "data:"))]


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium, if possible of its headless shell, which needs a quarter of the processor time."""
    path = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser"))), None)
    if path is None:
        pytest.skip("no chromium is installed (on Debian: apt install chromium-headless-shell)")
    return path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """A browser with an empty profile."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def tab(browser: Browser) -> AsyncIterator[Tab]:
    """An empty page in a new browser context."""
    async with await browser.new_context() as context:
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        tab = Tab(page)
        tab.watch()
        yield tab


async def open_playground(tab: Tab, url: str) -> Page:
    """Open the playground and wait until its models are loaded."""
    await tab.page.goto(f"{url}/playground")
    await expect(tab.page.locator("#model option")).not_to_have_count(1)
    return tab.page


async def say(page: Page, text: str) -> None:
    """Send a message."""
    await page.get_by_label("Your message").fill(text)
    await page.get_by_role("button", name="Send").click()


def chat_answer(text: str) -> Fault:
    """A response of the upstream with this text."""
    message = {"role": "assistant", "content": text}
    line = {"model": "gpt-oss", "message": message, "done": True, "done_reason": "stop"}
    body = json.dumps(line).encode() + b"\n"
    return Fault(status=200, body=body, content_type="application/x-ndjson")


# All browser tests share an event loop, so that the browser starts once; the service must run in the same loop.


@pytest_asyncio.fixture(loop_scope="session")
async def simulator() -> AsyncIterator[Simulator]:
    """An upstream that behaves like Ollama, with faults on demand."""
    async with Simulator() as simulator:
        yield simulator


@pytest_asyncio.fixture(loop_scope="session")
async def url(make_settings: MakeSettings) -> AsyncIterator[str]:
    """The address of the service with default settings, in front of the simulator."""
    async with serve(create_app(make_settings())) as url:
        yield url

import pytest
from playwright.async_api import expect
from starlette.types import Receive, Scope, Send

from main import create_app
from simulator import Simulator
from tests.browser.conftest import Tab
from tests.conftest import MakeSettings
from tests.serving import serve

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_docs_send_no_request_to_other_servers(url: str, tab: Tab) -> None:
    await tab.page.goto(f"{url}/docs")
    paths = (await (await tab.page.request.get(f"{url}/openapi.json")).json())["paths"]
    operations = sum(len(methods) for methods in paths.values())
    await expect(tab.page.locator(".opblock")).to_have_count(operations)
    await expect(tab.page.get_by_text("Generate a response to a prompt")).to_be_visible()
    assert tab.trouble == []
    assert tab.requests_elsewhere(url) == []


async def test_an_example_can_be_executed_unchanged(url: str, tab: Tab, simulator: Simulator) -> None:
    await tab.page.goto(f"{url}/docs")
    generate = tab.page.locator("#operations-ollama-generate")
    await generate.locator(".opblock-summary-control").click()
    await generate.get_by_role("button", name="Execute").click()
    answer = generate.locator(".live-responses-table")
    await expect(answer.locator("td.response-col_status").nth(1)).to_contain_text("200")
    await expect(answer).to_contain_text("[simulated gpt-oss]")
    (call,) = simulator.calls_to("/api/generate")
    assert "waiver wire" in call.body["prompt"]
    assert tab.trouble == []


async def test_a_stream_can_be_chosen_by_media_type(url: str, tab: Tab) -> None:
    await tab.page.goto(f"{url}/docs")
    generate = tab.page.locator("#operations-ollama-generate")
    await generate.locator(".opblock-summary-control").click()
    await generate.locator(".opblock-section-request-body .examples-select-element").select_option("stream")
    await generate.locator("tr.response[data-code='200'] select.content-type").select_option("text/event-stream")
    await generate.get_by_role("button", name="Execute").click()
    await expect(generate.locator(".live-responses-table")).to_contain_text("event: done")


async def test_authorize_sends_the_key(make_settings: MakeSettings, tab: Tab) -> None:
    async with serve(create_app(make_settings(api_keys="correct-horse"))) as url:
        await tab.page.goto(f"{url}/docs")
        await tab.page.locator(".auth-wrapper .authorize").first.click()
        await tab.page.locator("#auth-bearer-value").fill("correct-horse")
        await tab.page.get_by_role("button", name="Apply credentials").first.click()
        await tab.page.locator(".close-modal").click()
        models = tab.page.locator("#operations-ollama-models")
        await models.locator(".opblock-summary-control").click()
        await models.get_by_role("button", name="Execute").click()
        await expect(models.locator(".live-responses-table")).to_contain_text("gpt-oss:latest")


async def test_redoc_sends_no_request_to_other_servers(url: str, tab: Tab) -> None:
    await tab.page.goto(f"{url}/redoc")
    await expect(tab.page.get_by_role("heading", name="Continue a conversation")).to_be_visible()
    assert tab.trouble == []
    assert tab.requests_elsewhere(url) == []


async def test_every_link_of_the_landing_page_works(url: str, tab: Tab) -> None:
    await tab.page.goto(url)
    links = await tab.page.locator("a").all()
    assert len(links) == 5
    for link in links:
        response = await tab.page.request.get(f"{url}/{await link.get_attribute('href')}")
        assert response.status == 200
    assert tab.trouble == []


async def test_an_example_can_be_executed_behind_a_proxy_with_a_prefix(
    make_settings: MakeSettings, tab: Tab, simulator: Simulator
) -> None:
    app = create_app(make_settings())

    async def without_prefix(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            assert scope["path"].startswith("/ai/"), scope["path"]
            scope = {**scope, "path": scope["path"].removeprefix("/ai")}
        await app(scope, receive, send)

    async with serve(without_prefix) as url:
        await tab.page.goto(f"{url}/ai/docs")
        generate = tab.page.locator("#operations-ollama-generate")
        await generate.locator(".opblock-summary-control").click()
        await generate.get_by_role("button", name="Execute").click()
        await expect(generate.locator(".live-responses-table")).to_contain_text("[simulated gpt-oss]")
        await expect(generate.locator(".request-url")).to_contain_text(f"{url}/ai/api/ollama/generate")
        for page in ("redoc", "playground", ""):
            await tab.page.goto(f"{url}/ai/{page}")
            await expect(tab.page.get_by_role("heading").first).to_be_visible()
        assert tab.requests_elsewhere(f"{url}/ai") == []
        assert tab.trouble == []
    assert len(simulator.calls_to("/api/generate")) == 1


@pytest.mark.parametrize("path", ["docs", "redoc", "playground"])
async def test_pages_link_to_each_other(url: str, tab: Tab, path: str) -> None:
    await tab.page.goto(f"{url}/{path}")
    pages = tab.page.get_by_role("navigation", name="Pages").get_by_role("link")
    await expect(pages).to_have_text(["Playground", "API docs", "Reference"])
    await expect(tab.page.locator(".bar [aria-current=page]")).to_have_attribute("href", path)
    for link in await pages.all():
        assert (await tab.page.request.get(f"{url}/{await link.get_attribute('href')}")).status == 200
    await tab.page.get_by_role("link", name="Ollama service").click()
    await expect(tab.page).to_have_url(f"{url}/")

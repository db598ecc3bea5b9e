import re
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from main import create_app
from tests.conftest import MakeSettings
from tests.serving import serve

PAGES = Path(__file__).parent.parent.parent / "pages"
OURS = [path for path in PAGES.rglob("*.*") if "vendor" not in path.parts]
SCRIPTS = [path for path in OURS if path.suffix == ".js"]


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/playground"])
async def test_pages_may_load_only_assets_of_the_service(path: str, url: str, client: aiohttp.ClientSession) -> None:
    async with client.get(f"{url}{path}") as response:
        assert response.status == 200
        assert response.content_type == "text/html"
        policy = response.headers["Content-Security-Policy"]
        text = await response.text()
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "//" not in policy
    assert "<script>" not in text
    loaded = re.findall(r'(?:src|href)="(assets/[^"]+)"', text)
    assert loaded
    for asset in loaded:
        async with client.get(f"{url}/{asset}") as response:
            assert response.status == 200
            assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_only_redoc_may_use_inline_styles(url: str, client: aiohttp.ClientSession) -> None:
    for path in ("/", "/docs", "/playground"):
        async with client.get(f"{url}{path}") as response:
            assert "unsafe" not in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_pages_reference_no_other_server(path: Path) -> None:
    found = set(re.findall(r"https?://[\w.]+", path.read_text()))
    assert found <= {"http://www.w3.org"}


async def test_an_unchanged_asset_is_304(url: str, client: aiohttp.ClientSession) -> None:
    asset = f"{url}/assets/base.css"
    async with client.get(asset) as response:
        assert response.headers["Cache-Control"] == "no-cache"
        etag = response.headers["ETag"]
    async with client.get(asset, headers={"If-None-Match": etag}) as response:
        assert response.status == 304


@pytest.mark.parametrize("path", ["/assets/none.css", "/assets/%2e%2e/landing.html", "/assets/..%2f..%2fconfig.py"])
async def test_nothing_but_assets_is_served(path: str, url: str, client: aiohttp.ClientSession) -> None:
    async with client.get(URL(f"{url}{path}", encoded=True)) as response:
        assert response.status == 404
        assert (await response.json(content_type="application/problem+json"))["code"] == "not_found"


async def test_docs_can_be_disabled(make_settings: MakeSettings, client: aiohttp.ClientSession) -> None:
    async with serve(create_app(make_settings(docs_enabled=False))) as url:
        for path in ("/docs", "/redoc", "/openapi.json"):
            async with client.get(f"{url}{path}") as response:
                assert response.status == 404
        async with client.get(url) as response:
            assert re.findall(r'<a href="([^"]+)"', await response.text()) == ["playground", "health"]


async def test_the_playground_can_be_disabled(make_settings: MakeSettings, client: aiohttp.ClientSession) -> None:
    async with serve(create_app(make_settings(playground_enabled=False))) as url:
        async with client.get(f"{url}/playground") as response:
            assert response.status == 404
        async with client.get(url) as response:
            assert 'href="playground"' not in await response.text()
        async with client.get(f"{url}/docs") as response:
            assert response.status == 200


async def test_a_disabled_page_is_not_linked(make_settings: MakeSettings, client: aiohttp.ClientSession) -> None:
    async with serve(create_app(make_settings(playground_enabled=False))) as url:
        for path in ("docs", "redoc"):
            async with client.get(f"{url}/{path}") as response:
                assert re.findall(r'<a href="(\w+)"', await response.text()) == ["docs", "redoc"]
    async with serve(create_app(make_settings(docs_enabled=False))) as url, client.get(f"{url}/playground") as response:
        assert re.findall(r'<a href="(\w+)"', await response.text()) == ["playground"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_never_parse_text_as_html(path: Path) -> None:
    dangerous = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval(", "srcdoc")
    assert [name for name in dangerous if name in path.read_text()] == []


async def test_pages_require_no_key(make_settings: MakeSettings, client: aiohttp.ClientSession) -> None:
    async with serve(create_app(make_settings(api_keys="correct-horse"))) as url:
        for path in ("/", "/docs", "/redoc", "/openapi.json", "/playground"):
            async with client.get(f"{url}{path}") as response:
                assert response.status == 200


async def test_pages_support_head(url: str, client: aiohttp.ClientSession) -> None:
    for path in ("/", "/playground"):
        async with client.head(f"{url}{path}") as response:
            assert response.status == 200

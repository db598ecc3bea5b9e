import platform
from importlib.metadata import version

import aiohttp
from pydantic import SecretStr

from main import create_app
from tests.api import get
from tests.conftest import MakeSettings
from tests.prometheus import scrape
from tests.serving import serve


async def test_what_runs(make_settings: MakeSettings, client: aiohttp.ClientSession) -> None:
    async with serve(create_app(make_settings(build_commit="5a884d5"))) as url:
        document = (await get(client, f"{url}/version")).json()
        shown = await scrape(client, url)
    assert (document["version"], document["commit"]) == ("0.1.0", "5a884d5")
    assert document["python"] == platform.python_version()
    for name in ("aiohttp", "fastapi", "starlette", "uvicorn"):
        assert document["libraries"][name] == version(name)
    assert shown.labels("ollama_service_build_info", "commit", **document["libraries"]) == {"5a884d5"}


async def test_the_commit_is_unknown_where_no_build_named_it(client: aiohttp.ClientSession, url: str) -> None:
    assert (await get(client, f"{url}/version")).json()["commit"] is None


async def test_it_needs_a_key_where_there_are_keys(make_settings: MakeSettings, client: aiohttp.ClientSession) -> None:
    async with serve(create_app(make_settings(api_keys=(SecretStr("a-key"),)))) as url:
        assert (await get(client, f"{url}/version")).status == 401
        assert (await get(client, f"{url}/version", headers={"X-API-Key": "a-key"})).status == 200

"""Methods, paths and their spellings."""

from typing import Any

import aiohttp
import pytest
from yarl import URL

from main import create_app
from routers.dependencies import get_ollama_service
from routers.responses.problems import NO_SUCH_PATH
from tests.api import COMPLETIONS, EMBEDDINGS, GETS, call, get, problem_in, succeed
from tests.conftest import MakeSettings
from tests.raw_http import connect
from tests.serving import serve

POSTS = [*COMPLETIONS, ("embeddings", EMBEDDINGS)]
VOLATILE = {"date", "x-request-id"}


# Methods


@pytest.mark.parametrize("path", GETS)
async def test_head_has_the_headers_of_get_and_no_body(client: aiohttp.ClientSession, url: str, path: str) -> None:
    whole = await get(client, url + path)
    async with connect(url) as connection:
        for _ in range(2):
            await connection.send(f"HEAD {path} HTTP/1.1\r\nHost: service\r\nAccept-Encoding: gzip\r\n\r\n".encode())
            answer = await connection.answer(to_head=True)
            assert answer.status == whole.status == 200
            names = {name.lower() for name in whole.headers}
            assert answer.headers.keys() == names
            assert int(answer.headers["content-length"]) > 0
            if path not in {"/health", "/api/ollama/models"}:  # whose bodies contain times
                assert answer.headers["content-length"] == str(len(whole.body))
        await connection.send(b"GET /health/live HTTP/1.1\r\nHost: service\r\n\r\n")
        assert (await connection.answer()).json() == {"alive": True}


@pytest.mark.parametrize("path", ["/nowhere", "/api/ollama/generate"])
async def test_head_has_the_error_status_of_get(client: aiohttp.ClientSession, url: str, path: str) -> None:
    assert (await call(client, "HEAD", url + path)).status == (await get(client, url + path)).status


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("OPTIONS", "/health", "GET, HEAD"),
        ("DELETE", "/api/ollama/models", "GET, HEAD"),
        ("OPTIONS", "/api/ollama/generate", "POST"),
        ("GET", "/api/ollama/chat", "POST"),
        ("HEAD", "/api/ollama/embeddings", "POST"),
        ("PUT", "/api/ollama/chat/", "POST"),
        ("POST", "/", "GET, HEAD"),
        ("PATCH", "/docs", "GET, HEAD"),
        ("TRACE", "/openapi.json", "GET, HEAD"),
    ],
)
async def test_a_405_names_the_allowed_methods(
    client: aiohttp.ClientSession, url: str, method: str, path: str, allow: str
) -> None:
    answer = await call(client, method, url + path)
    assert (answer.status, answer.headers["Allow"]) == (405, allow)
    if method != "HEAD":
        detail = f"The path does not support this method, only {allow.replace(', ', ' and ')}."
        assert problem_in(answer, "method_not_allowed")["detail"] == detail


@pytest.mark.parametrize("path", ["/nowhere", "/api/ollama/nowhere", "/assets/nowhere.css"])
async def test_a_404_says_where_the_paths_are_listed(client: aiohttp.ClientSession, url: str, path: str) -> None:
    document = problem_in(await get(client, url + path), "not_found")
    assert document["detail"] == NO_SUCH_PATH


# Paths


@pytest.mark.parametrize("path", ["/api/ollama/models/", "/health/", "/health/live/", "/openapi.json/"])
async def test_a_trailing_slash_is_ignored(client: aiohttp.ClientSession, url: str, path: str) -> None:
    for method in ("GET", "HEAD"):
        assert (await call(client, method, url + path, allow_redirects=False)).status == 200


@pytest.mark.parametrize(("endpoint", "body"), POSTS)
async def test_a_trailing_slash_is_ignored_for_post(
    client: aiohttp.ClientSession, make_settings: MakeSettings, endpoint: str, body: Any
) -> None:
    app, overridden = create_app(make_settings()), create_app(make_settings())
    overridden.dependency_overrides[get_ollama_service] = lambda: overridden.state.ollama_service
    for one in (app, overridden):
        async with serve(one) as url:
            await succeed(client, url, f"{endpoint}/", body)


@pytest.mark.parametrize("path", ["/docs/", "/redoc/", "/playground/"])
async def test_a_page_with_a_trailing_slash_is_redirected(client: aiohttp.ClientSession, url: str, path: str) -> None:
    answer = await get(client, url + path, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (308, f"..{path.rstrip('/')}")
    assert (await get(client, url + path)).status == 200


@pytest.mark.parametrize("path", ["//", "/health//", "//health", "/HEALTH", "/health/.", "/x/../health", "/nowhere/"])
async def test_other_spellings_of_a_path_are_404(client: aiohttp.ClientSession, url: str, path: str) -> None:
    problem_in(await get(client, URL(url + path, encoded=True)), "not_found")  # type: ignore[arg-type]

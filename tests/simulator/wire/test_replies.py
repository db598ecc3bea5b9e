"""Headers, media types and encoding of responses."""

import aiohttp

from tests.simulator.requests import CHAT, EMBED, GENERATE, JSON, lines, whole


async def test_root_and_version_respond_as_in_ollama(client: aiohttp.ClientSession) -> None:
    async with client.get("/") as response:
        assert response.content_type == "text/plain"
        assert await response.read() == b"Ollama is running"
    async with client.get("/api/version") as response:
        assert response.headers["Content-Type"] == JSON
        assert await response.json() == {"version": "0.0.0-simulator"}


async def test_json_is_escaped_as_go_escapes_it(client: aiohttp.ClientSession) -> None:
    async with client.post("/api/generate", json=GENERATE | {"model": "<&>"}) as response:
        assert b"invalid model name" in await response.read()
    tool = {"type": "function", "function": {"name": "a<b", "parameters": {}}}
    body = CHAT | {"tools": [tool], "messages": [{"role": "user", "content": "a<b"}], "stream": False}
    async with client.post("/api/chat", json=body) as response:
        assert b'"name":"a\\u003cb"' in await response.read()


async def test_the_last_line_has_its_keys_in_ollamas_order(client: aiohttp.ClientSession) -> None:
    keys = [
        "model", "created_at", "response", "done", "done_reason", "context", "total_duration", "load_duration",
        "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration",
    ]  # fmt: skip
    assert list(await whole(client, GENERATE)) == list((await lines(client, GENERATE))[-1]) == keys


async def test_responses_have_no_server_header(client: aiohttp.ClientSession) -> None:
    for path, body in (("/api/generate", GENERATE), ("/api/embed", EMBED), ("/api/nothing", {})):
        async with client.post(path, json=body) as response:
            assert "Server" not in response.headers


async def test_router_errors_are_plain_text(client: aiohttp.ClientSession) -> None:
    async with client.get("/api/nothing") as response:
        assert (response.status, await response.text()) == (404, "404 page not found")
        assert response.headers["Content-Type"] == "text/plain"
    for method, path in (("GET", "/api/generate"), ("POST", "/api/tags"), ("HEAD", "/api/ps")):
        async with client.request(method, path) as response:
            assert (response.status, response.headers["Content-Type"]) == (405, "text/plain")

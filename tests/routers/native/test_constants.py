"""Ollama's own API: OLLAMA_NUM_CTX and OLLAMA_KEEP_ALIVE are added to requests."""

from typing import Any

import aiohttp
import pytest

from main import create_app
from simulator import Simulator
from tests.api import call
from tests.conftest import MakeSettings
from tests.kinds import Kind, see
from tests.routers.native.requests import error_in, every_kind
from tests.serving import serve


def sent(simulator: Simulator, kind: Kind) -> Any:
    return simulator.calls_to(kind.upstream)[-1].body


@every_kind
async def test_constants_are_added_to_every_request(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    settings = make_settings(ollama_num_ctx=2048, ollama_keep_alive="10m")
    async with serve(create_app(settings)) as url:
        await see(kind.ask(client, url))
        assert sent(simulator, kind) == kind.body | {"options": {"num_ctx": 2048}, "keep_alive": "10m"}
        await see(kind.ask(client, url, options={"num_ctx": 131_072, "seed": 7}, keep_alive=0))
        assert sent(simulator, kind) == kind.body | {"options": {"num_ctx": 2048, "seed": 7}, "keep_alive": 0}
        await see(kind.ask(client, url, options=None, keep_alive=None))
        assert sent(simulator, kind) == kind.body | {"options": {"num_ctx": 2048}, "keep_alive": "10m"}


async def test_constants_replace_fields_in_any_case(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    body = {"model": "llama3.1", "Options": {"num_ctx": 1, "seed": 1}, "OPTIONS": {"seed": 2}, "Keep_Alive": "1m"}
    async with serve(create_app(make_settings(ollama_num_ctx=2048, ollama_keep_alive="10m"))) as url:
        assert (await call(client, "POST", f"{url}/api/generate", json=body)).status == 200
    expected = {"model": "llama3.1", "Keep_Alive": "1m", "options": {"num_ctx": 2048, "seed": 2}}
    assert simulator.calls_to("/api/generate")[0].body == expected


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"7", b'{"options": [1]}', b'{"model": "x"} more'])
async def test_bodies_that_cannot_have_constants_are_sent_unchanged(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, data: bytes
) -> None:
    async with serve(create_app(make_settings(ollama_num_ctx=2048))) as url:
        await call(client, "POST", f"{url}/api/chat", data=data)
    seen = simulator.calls_to("/api/chat")[0]
    assert seen.data in {data, data.replace(b" ", b"")}


async def test_no_constants_are_added_to_show(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    async with serve(create_app(make_settings(ollama_num_ctx=2048, ollama_keep_alive="10m"))) as url:
        await call(client, "POST", f"{url}/api/show", json={"model": "llama3.1"})
    assert simulator.calls_to("/api/show")[0].body == {"model": "llama3.1"}


async def test_with_constants_a_body_with_too_many_values_is_rejected(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    bomb = b'{"model": "llama3.1", "a": [' + b"[]," * 200_000 + b"[]]}"
    deep = b'{"model": "llama3.1", "a": ' + b"[" * 600 + b"]" * 600 + b"}"
    async with serve(create_app(make_settings(ollama_num_ctx=2048))) as url:
        refused = await call(client, "POST", f"{url}/api/chat", data=bomb)
        assert (refused.status, simulator.calls_to("/api/chat")) == (413, [])
        assert error_in(refused.body)
        refused = await call(client, "POST", f"{url}/api/chat", data=deep)
        assert (refused.status, error_in(refused.body)) == (422, "The request is nested too deeply.")
    async with serve(create_app(make_settings())) as url:
        await call(client, "POST", f"{url}/api/chat", data=bomb)
        assert simulator.calls_to("/api/chat")[-1].data == bomb

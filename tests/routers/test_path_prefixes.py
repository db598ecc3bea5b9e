"""The service under a path prefix: behind nginx, mounted in another application, and with a `root_path`."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send
from yarl import URL

from main import create_app
from tests.api import CHAT, get, post
from tests.conftest import MakeSettings
from tests.service_process import free_port
from tests.serving import serve

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
NGINX_CONFIG = """
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log; events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/b; proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f;
    uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    server {{ listen 127.0.0.1:{port}; location /ai/ {{ proxy_pass {upstream}/; proxy_buffering off; }} }}
}}
"""


@asynccontextmanager
async def nginx(upstream: str, directory: Path) -> AsyncIterator[str]:
    """Run nginx as a proxy of an upstream under `/ai/`."""
    assert NGINX is not None
    port = free_port()
    config = directory / "nginx.conf"
    config.write_text(NGINX_CONFIG.format(directory=directory, port=port, upstream=upstream))
    user = ["-g", "user root;"] if os.getuid() == 0 else []
    command = [NGINX, "-c", str(config), "-p", str(directory), *user]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(10):
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                await asyncio.sleep(0.02)
        yield f"http://127.0.0.1:{port}/ai"
    finally:
        process.terminate()
        await process.wait()


async def check_everything_is_inside(client: aiohttp.ClientSession, base: str) -> None:
    """Request the assets of the pages and the paths of openapi.json, as a browser does."""
    for path in ("/", "/docs", "/redoc", "/playground"):
        answer = await get(client, base + path)
        assert answer.status == 200
        assert b'"/' not in answer.body.replace(b'type="image/svg+xml"', b"")
    description = URL(f"{base}/openapi.json")
    answer = await get(client, str(description))
    (server,) = answer.json()["servers"]
    root = description.join(URL(server["url"]))
    assert str(root) == f"{base}/"
    assert (await get(client, str(root.join(URL("api/ollama/models"))))).status == 200
    assert (await post(client, base, "chat", CHAT)).status == 200
    assert (await get(client, f"{base}/docs/")).status == 200


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
async def test_pages_work_behind_a_proxy_with_a_prefix(client: aiohttp.ClientSession, url: str, tmp_path: Path) -> None:
    async with nginx(url, tmp_path) as base:
        await check_everything_is_inside(client, base)


async def test_the_service_works_mounted_under_a_prefix(
    client: aiohttp.ClientSession, make_settings: MakeSettings
) -> None:
    app = create_app(make_settings())
    async with serve(Starlette(routes=[Mount("/ai", app)])) as url:
        await check_everything_is_inside(client, f"{url}/ai")
    await app.state.ollama_service.disconnect()


async def test_a_server_may_set_root_path(client: aiohttp.ClientSession, make_settings: MakeSettings) -> None:
    app = create_app(make_settings())

    async def with_root_path(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "root_path": "/ai"}
        await app(scope, receive, send)

    async with serve(with_root_path) as url:
        answer = await get(client, f"{url}/openapi.json")
        assert answer.json()["servers"] == [{"url": "./"}]
        await check_everything_is_inside(client, url)
        await check_everything_is_inside(client, f"{url}/ai")

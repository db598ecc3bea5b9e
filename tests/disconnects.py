"""Requests whose client disconnects."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.kinds import (
    Kind,
    see,
)


@asynccontextmanager
async def asking(kind: Kind, client: aiohttp.ClientSession, url: str, **more: Any) -> AsyncIterator[asyncio.Task[Any]]:
    """Start a request, and close its connection at the end."""
    task = asyncio.create_task(see(kind.ask(client, url, **more)))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def wire(kind: Kind, **headers: str) -> bytes:
    """Write a request as bytes."""
    body = json.dumps(kind.body).encode()
    lines = {"Host": "service", "Content-Type": "application/json", "Accept": kind.accept} | headers
    lines |= {"Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {kind.prefix}/{kind.path} HTTP/1.1\r\n{head}\r\n".encode() + body


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = url.removeprefix("http://").partition(":")
    return await asyncio.open_connection(host, int(port))

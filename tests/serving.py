"""A real server around an app, in the test's own event loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import uvicorn
from starlette.types import ASGIApp

from server.uvicorn_options import UVICORN_OPTIONS


@asynccontextmanager
async def serve(app: ASGIApp, lifespan: Literal["auto", "on", "off"] = "auto") -> AsyncIterator[str]:
    """Serve an app on a free loopback port, and yield its address."""
    config = uvicorn.Config(app, port=0, **(UVICORN_OPTIONS | {"timeout_graceful_shutdown": 3, "lifespan": lifespan}))
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        # As `server.shutdown()`, which always sleeps 0.1 s.
        server.servers[0].close()
        for connection in list(server.server_state.connections):
            connection.shutdown()
        await asyncio.sleep(0)
        if server.server_state.connections or server.server_state.tasks:
            await server.shutdown()
        else:
            await server.lifespan.shutdown()

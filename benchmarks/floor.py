"""Lower bound for comparison: FastAPI and aiohttp that forward bytes without parsing them.

A service can only be faster if it bypasses parts of these libraries, as this one does. Run with uvicorn.
"""

from collections.abc import AsyncIterator

import aiohttp
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from benchmarks.baseline import lifespan

app = FastAPI(lifespan=lifespan)


async def pieces(session: aiohttp.ClientSession, path: str, body: bytes) -> AsyncIterator[bytes]:
    """Yield the response body as it arrives."""
    async with session.post(path, data=body) as response:
        async for piece in response.content.iter_any():
            yield piece


@app.post("/api/{endpoint}", response_model=None)
async def forward(endpoint: str, request: Request) -> Response:
    """Forward a request to Ollama and return its response."""
    session: aiohttp.ClientSession = request.app.state.session
    path, body = f"/api/{endpoint}", await request.body()
    if b'"stream":true' in body:
        return StreamingResponse(pieces(session, path, body), media_type="application/x-ndjson")
    async with session.post(path, data=body) as response:
        return Response(await response.read(), media_type="application/json")

"""A service around the crew: `POST /articles`, and `GET /health` for the Ollama service to ask."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

CREW = Path(__file__).with_name("crew.py")
CLIENT_LEFT = 499
MAX_BYTES = 2**24  # of a result


class CrewProcess:
    """A process in which the crew runs, one topic after another.

    crewai calls its models from threads, which cannot be stopped. A process can be killed: its connection then closes,
    and the service stops the model.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._process: Process | None = None
        self._starting = asyncio.create_task(self._start())

    @property
    def is_ready(self) -> bool:
        """Whether the agents are initialized."""
        return self._process is not None and self._process.returncode is None

    async def run(self, topic: str) -> dict[str, Any]:
        """Return what the crew says about a topic; to cancel this ends the process, and the next one starts."""
        async with self._turn:
            if not self.is_ready and self._starting.done():
                await self._restart()
            process = await asyncio.shield(self._starting)
            try:
                assert process.stdin is not None
                process.stdin.write(f"{' '.join(topic.split())}\n".encode())
                return await _next_object(process)
            except BaseException:
                await self._restart()
                raise

    async def end(self) -> None:
        """Kill the process."""
        self._starting.cancel()
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    async def _restart(self) -> None:
        await self.end()
        self._starting = asyncio.create_task(self._start())

    async def _start(self) -> Process:
        process = await asyncio.create_subprocess_exec(sys.executable, CREW, stdin=PIPE, stdout=PIPE, limit=MAX_BYTES)
        try:
            await _next_object(process)
        except BaseException:
            process.kill()
            raise
        self._process = process
        return process


async def _next_object(process: Process) -> dict[str, Any]:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise RuntimeError("The crew's process has ended; see what it wrote to stderr.")
    document: dict[str, Any] = json.loads(line)
    return document


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start the crew's process, and end it."""
    app.state.crew = CrewProcess()
    yield
    await app.state.crew.end()


app = FastAPI(title="Agents", lifespan=lifespan)


class ArticleRequest(BaseModel):
    """The topic of an article."""

    topic: str = Field(min_length=1, max_length=500)


@app.post("/articles")
async def write_article(body: ArticleRequest, request: Request) -> JSONResponse:
    """Have the crew write an article; if the client disconnects, the run and its generation stop."""
    run = asyncio.create_task(request.app.state.crew.run(body.topic))
    left = asyncio.create_task(_client_left(request))
    try:
        await asyncio.wait({run, left}, return_when=asyncio.FIRST_COMPLETED)
        if not run.done():
            return JSONResponse({"error": "The client left."}, CLIENT_LEFT)
        result = run.result()
    finally:
        run.cancel()
        left.cancel()
    if "error" in result:
        headers = {"Retry-After": result["retry_after"]} if result["retry_after"] else None
        return JSONResponse({"error": result["error"]}, result["status"], headers)
    return JSONResponse(result)


@app.get("/health")
async def health(request: Request) -> JSONResponse:
    """Return whether the agents are initialized."""
    is_ready = request.app.state.crew.is_ready
    return JSONResponse({"crewai_agents": "initialized" if is_ready else "not_initialized"}, 200 if is_ready else 503)


async def _client_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

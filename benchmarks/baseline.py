"""The straightforward service: FastAPI and aiohttp the way a tutorial puts them together.

It does what the measured REST paths need and nothing else: no queue, no retry, no deadlines, no request id,
no cancelling, no fallback. It is here to be compared with.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

OLLAMA_BASE_URL = os.environ.get("OLLAMA_BASE_URL", "http://127.0.0.1:11434")
MAX_CONNECTIONS = int(os.environ.get("OLLAMA_MAX_CONNECTIONS", "10"))


class Message(BaseModel):
    """One turn of a conversation."""

    role: str
    content: str


class ChatRequest(BaseModel):
    """A conversation to continue."""

    messages: list[Message] = Field(min_length=1)
    model: str = "gpt-oss"
    temperature: float = Field(default=0.7, ge=0, le=2)
    top_p: float = Field(default=0.9, ge=0, le=1)
    max_tokens: int = Field(default=4096, ge=1)
    stream: bool = False


class Usage(BaseModel):
    """Tokens counted by Ollama."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


class ChatResponse(BaseModel):
    """A whole answer."""

    success: bool = True
    response: str
    message: Message
    model: str
    done_reason: str | None = None
    usage: Usage


class EmbeddingRequest(BaseModel):
    """A text to embed."""

    text: str = Field(min_length=1)
    model: str = "nomic-embed-text"


class EmbeddingResponse(BaseModel):
    """Its vector."""

    success: bool = True
    embeddings: list[float]
    dimension: int
    model: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one session for the life of the application."""
    connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS)
    async with aiohttp.ClientSession(OLLAMA_BASE_URL, connector=connector) as session:
        app.state.session = session
        yield


app = FastAPI(lifespan=lifespan)


def ollama_request(chat: ChatRequest) -> dict[str, Any]:
    """Translate a request into Ollama's fields."""
    return {
        "model": chat.model,
        "messages": [message.model_dump() for message in chat.messages],
        "stream": chat.stream,
        "options": {"temperature": chat.temperature, "top_p": chat.top_p, "num_predict": chat.max_tokens},
    }


async def stream_events(session: aiohttp.ClientSession, payload: dict[str, Any]) -> AsyncIterator[str]:
    """Yield Server-Sent Events, one a token."""
    async with session.post("/api/chat", json=payload) as response:
        async for line in response.content:
            chunk = json.loads(line)
            if chunk.get("done"):
                done = {"type": "done", "done_reason": chunk["done_reason"]}
                yield f"event: done\ndata: {json.dumps(done)}\n\n"
            else:
                token = {"type": "token", "text": chunk["message"]["content"]}
                yield f"event: token\ndata: {json.dumps(token)}\n\n"


@app.post("/api/ollama/chat", response_model=ChatResponse)
async def chat(body: ChatRequest, request: Request) -> Any:
    """Answer a conversation, whole or as a stream."""
    session: aiohttp.ClientSession = request.app.state.session
    payload = ollama_request(body)
    if body.stream:
        return StreamingResponse(stream_events(session, payload), media_type="text/event-stream")
    async with session.post("/api/chat", json=payload) as response:
        if response.status != 200:  # noqa: PLR2004
            raise HTTPException(status_code=502, detail=await response.text())
        data = await response.json()
    prompt_tokens, completion_tokens = data.get("prompt_eval_count", 0), data.get("eval_count", 0)
    return ChatResponse(
        response=data["message"]["content"],
        message=Message(**data["message"]),
        model=data["model"],
        done_reason=data.get("done_reason"),
        usage=Usage(
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            total_tokens=prompt_tokens + completion_tokens,
        ),
    )


async def embed(session: aiohttp.ClientSession, body: EmbeddingRequest) -> dict[str, Any]:
    """Ask Ollama for the vector of one text."""
    async with session.post("/api/embed", json={"model": body.model, "input": body.text}) as response:
        if response.status != 200:  # noqa: PLR2004
            raise HTTPException(status_code=502, detail=await response.text())
        data = await response.json()
    vector = data["embeddings"][0]
    return {"success": True, "embeddings": vector, "dimension": len(vector), "model": data["model"]}


@app.post("/api/ollama/embeddings", response_model=EmbeddingResponse)
async def embeddings(body: EmbeddingRequest, request: Request) -> Any:
    """Embed one text."""
    return EmbeddingResponse(**await embed(request.app.state.session, body))


@app.post("/plain/embeddings", response_model=None)
async def embeddings_plain(body: EmbeddingRequest, request: Request) -> Any:
    """Embed one text and return a dict, for FastAPI to find out what is in it: as common, and far slower."""
    return await embed(request.app.state.session, body)

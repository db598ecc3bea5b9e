"""Baseline for comparison: a simple service with FastAPI and aiohttp, as a tutorial would write it.

It implements only the measured endpoints: no queue, retries, timeouts, request ids, cancellation or fallback.
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
    """A message of a conversation."""

    role: str
    content: str


class ChatRequest(BaseModel):
    """A chat request."""

    messages: list[Message] = Field(min_length=1)
    model: str = "gpt-oss"
    temperature: float = Field(default=0.7, ge=0, le=2)
    top_p: float = Field(default=0.9, ge=0, le=1)
    max_tokens: int = Field(default=4096, ge=1)
    stream: bool = False


class Usage(BaseModel):
    """Token counts from Ollama."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


class ChatResponse(BaseModel):
    """A chat response that is not streamed."""

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
    """The embedding of the text."""

    success: bool = True
    embeddings: list[float]
    dimension: int
    model: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open one client session for the lifetime of the application."""
    connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS)
    async with aiohttp.ClientSession(OLLAMA_BASE_URL, connector=connector) as session:
        app.state.session = session
        yield


app = FastAPI(lifespan=lifespan)


def ollama_request(chat: ChatRequest) -> dict[str, Any]:
    """Return the request body for Ollama."""
    return {
        "model": chat.model,
        "messages": [message.model_dump() for message in chat.messages],
        "stream": chat.stream,
        "options": {"temperature": chat.temperature, "top_p": chat.top_p, "num_predict": chat.max_tokens},
    }


async def stream_events(session: aiohttp.ClientSession, payload: dict[str, Any]) -> AsyncIterator[str]:
    """Yield Server-Sent Events, one per token."""
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
    """Return the response to a conversation, streamed if requested."""
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
    """Request the embedding of a text from Ollama."""
    async with session.post("/api/embed", json={"model": body.model, "input": body.text}) as response:
        if response.status != 200:  # noqa: PLR2004
            raise HTTPException(status_code=502, detail=await response.text())
        data = await response.json()
    vector = data["embeddings"][0]
    return {"success": True, "embeddings": vector, "dimension": len(vector), "model": data["model"]}


@app.post("/api/ollama/embeddings", response_model=EmbeddingResponse)
async def embeddings(body: EmbeddingRequest, request: Request) -> Any:
    """Return the embedding of a text."""
    return EmbeddingResponse(**await embed(request.app.state.session, body))


@app.post("/plain/embeddings", response_model=None)
async def embeddings_plain(body: EmbeddingRequest, request: Request) -> Any:
    """Return the embedding as a dict without a response model, which is common and far slower in FastAPI."""
    return await embed(request.app.state.session, body)

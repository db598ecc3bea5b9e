"""The REST endpoints: parse, call, answer."""

from collections.abc import Callable, Coroutine
from dataclasses import asdict
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from problems import documented
from request_log import note
from routers.dependencies import OllamaServiceDep, ShutdownDep
from routers.streaming import StreamingDep, model_headers
from schemas import (
    ChatRequest,
    ChatResponse,
    EmbeddingsRequest,
    EmbeddingsResponse,
    GenerateRequest,
    GenerateResponse,
    ModelsResponse,
)
from services.completion import Completion

MODELS_PROBLEMS = documented("unauthorized", "invalid_request", "ollama_error", "ollama_unavailable", "timeout")
EMBEDDINGS_PROBLEMS = documented(
    "rejected_by_ollama",
    "unauthorized",
    "model_not_found",
    "payload_too_large",
    "invalid_request",
    "ollama_error",
    "ollama_unavailable",
    "ollama_busy",
    "overloaded",
    "shutting_down",
    "timeout",
)
COMPLETION_PROBLEMS = EMBEDDINGS_PROBLEMS


class _StrictRequest(Request):
    async def json(self) -> Any:
        return orjson.loads(await self.body())


class StrictJsonRoute(APIRoute):
    """Parses bodies by the letter: no NaN, no half of a surrogate pair, no nesting without end."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler behind another parser."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(_StrictRequest(request.scope, request.receive))

        return handle


router = APIRouter(prefix="/api/ollama", tags=["ollama"], route_class=StrictJsonRoute)


@router.get("/models", response_model=ModelsResponse, responses=MODELS_PROBLEMS)
async def models(
    service: OllamaServiceDep,
    force_refresh: Annotated[bool, Query(description="Ask Ollama now, and fail if it does not answer.")] = False,
) -> Response:
    """List the installed models."""
    found = await service.models(force_refresh=force_refresh)
    return _json({"success": True, **asdict(found)})


@router.post("/generate", response_model=GenerateResponse, responses=COMPLETION_PROBLEMS)
async def generate(
    body: GenerateRequest, service: OllamaServiceDep, shutdown: ShutdownDep, streaming: StreamingDep
) -> Response:
    """Answer a prompt."""
    request = body.to_completion_request()
    if body.stream:
        return streaming(request)
    async with shutdown.cutoff():
        return _answer(await service.complete(request))


@router.post("/chat", response_model=ChatResponse, responses=COMPLETION_PROBLEMS)
async def chat(
    body: ChatRequest, service: OllamaServiceDep, shutdown: ShutdownDep, streaming: StreamingDep
) -> Response:
    """Continue a conversation."""
    request = body.to_completion_request()
    if body.stream:
        return streaming(request)
    async with shutdown.cutoff():
        completion = await service.complete(request)
    message = {
        "role": "assistant",
        "content": completion.text,
        "thinking": completion.thinking,
        "tool_calls": completion.tool_calls or None,
    }
    return _answer(completion, message=message)


@router.post("/embeddings", response_model=EmbeddingsResponse, responses=EMBEDDINGS_PROBLEMS)
async def embeddings(body: EmbeddingsRequest, service: OllamaServiceDep, shutdown: ShutdownDep) -> Response:
    """Turn texts into vectors of unit length."""
    is_one = isinstance(body.text, str)
    async with shutdown.cutoff():
        found = await service.embed(
            [body.text] if isinstance(body.text, str) else body.text,
            model=body.model,
            dimensions=body.dimensions,
            truncate=body.truncate,
            keep_alive=body.keep_alive,
        )
    note(model=found.model, tokens=found.prompt_tokens)
    content = {
        "success": True,
        "embeddings": found.vectors[0] if is_one else found.vectors,
        "dimension": len(found.vectors[0]),
        "model": found.model,
        "usage": {"prompt_tokens": found.prompt_tokens},
    }
    return _json(content, {"X-Model": found.model, "X-Model-Fallback": "false"})


def _answer(completion: Completion, **members: Any) -> Response:
    served, done = completion.served, completion.done
    note(model=served.model, fallback=served.fallback, tokens=done.usage.completion_tokens)
    content = {
        "success": True,
        "response": completion.text,
        **members,
        "model": served.model,
        "requested_model": served.requested_model,
        "fallback": served.fallback,
        "thinking": completion.thinking,
        "done_reason": done.done_reason,
        "usage": done.usage,
        "timings": done.timings,
        "warnings": done.warnings,
    }
    return _json(content, {"Vary": "Accept", **model_headers(served)})


def _json(content: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), headers=headers, media_type="application/json")

"""The REST endpoints: parse, call, answer."""

from dataclasses import asdict
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Body, Query
from starlette.responses import Response

from routers.dependencies import OllamaServiceDep, ShutdownDep
from routers.direct_route import DirectRoute
from routers.openapi import examples, response_examples
from routers.openapi.schema import MODEL_HEADERS, operation_id, problems, stream_response, success_response
from routers.responses.streaming import StreamingCompletion, model_headers
from routers.schemas.ollama import ChatRequest, EmbeddingsRequest, GenerateRequest
from routers.schemas.ollama_responses import ChatResponse, EmbeddingsResponse, GenerateResponse, ModelsResponse
from server.request_log import note
from services.completion import Completion

LIST_PROBLEMS = problems(
    "bad_request",
    "unauthorized",
    "host_not_allowed",
    "request_timeout",
    "invalid_request",
    "headers_too_large",
    "internal_error",
    "ollama_error",
    "ollama_unavailable",
    "timeout",
)
MODEL_PROBLEMS = problems(
    "bad_request",
    "rejected_by_ollama",
    "unauthorized",
    "model_not_found",
    "request_timeout",
    "host_not_allowed",
    "payload_too_large",
    "unsupported_media_type",
    "invalid_request",
    "headers_too_large",
    "internal_error",
    "ollama_error",
    "ollama_unavailable",
    "ollama_busy",
    "model_stuck",
    "overloaded",
    "shutting_down",
    "timeout",
)


router = APIRouter(
    prefix="/api/ollama", tags=["ollama"], route_class=DirectRoute, generate_unique_id_function=operation_id
)


@router.get(
    "/models",
    summary="List the installed models",
    response_model=ModelsResponse,
    responses=success_response("The models that requests may name.", response_examples.MODELS_ANSWERS) | LIST_PROBLEMS,
)
async def models(
    service: OllamaServiceDep,
    force_refresh: Annotated[bool, Query(description="Ask Ollama now, and fail if it does not answer.")] = False,
) -> Response:
    """List the installed models.

    The list is kept for `OLLAMA_MODELS_TTL` and read again sooner where a request names a model that is not in it.
    While Ollama does not answer, the last list is given with `"stale": true`.
    """
    found = await service.models(force_refresh=force_refresh)
    return _json({"success": True, **asdict(found)})


@router.post(
    "/generate",
    summary="Answer a prompt",
    response_model=GenerateResponse,
    responses=stream_response(response_examples.GENERATE_ANSWERS) | MODEL_PROBLEMS,
)
async def generate(
    body: Annotated[GenerateRequest, Body(openapi_examples=examples.GENERATE)],
    service: OllamaServiceDep,
    shutdown: ShutdownDep,
) -> Response:
    """Answer one prompt with text, or with JSON that a schema describes.

    Only `prompt` is needed. The first answer of a model takes longer, for Ollama has to load it (`timings.load_ms`);
    a model that thinks does so before it writes, and its thinking counts against `max_tokens`. To show an answer while
    it is written, send `"stream": true` and choose the form by `Accept`. A client that leaves stops the model.
    """
    request = body.to_completion_request()
    if body.stream:
        return StreamingCompletion(request, service, shutdown)
    async with shutdown.drain_guard():
        return _answer(await service.complete(request))


@router.post(
    "/chat",
    summary="Continue a conversation",
    response_model=ChatResponse,
    responses=stream_response(response_examples.CHAT_ANSWERS) | MODEL_PROBLEMS,
)
async def chat(
    body: Annotated[ChatRequest, Body(openapi_examples=examples.CHAT)],
    service: OllamaServiceDep,
    shutdown: ShutdownDep,
) -> Response:
    """Answer the last message of a conversation, with all before it in mind.

    Nothing is kept here: send the whole conversation each time, and add `message` of the answer to it. The role
    `system` says how the model is to behave, `tool` brings the result of a function that it asked for in `tool_calls`.
    Streams work as in `/generate`.
    """
    request = body.to_completion_request()
    if body.stream:
        return StreamingCompletion(request, service, shutdown)
    async with shutdown.drain_guard():
        completion = await service.complete(request)
    message = {
        "role": "assistant",
        "content": completion.text,
        "thinking": completion.thinking,
        "tool_calls": completion.tool_calls or None,
    }
    return _answer(completion, message=message)


@router.post(
    "/embeddings",
    summary="Turn texts into vectors",
    response_model=EmbeddingsResponse,
    responses=success_response(
        "One flat vector for a text, a list of vectors for a list.", response_examples.EMBEDDINGS_ANSWERS, MODEL_HEADERS
    )
    | MODEL_PROBLEMS,
)
async def embeddings(
    body: Annotated[EmbeddingsRequest, Body(openapi_examples=examples.EMBEDDINGS)],
    service: OllamaServiceDep,
    shutdown: ShutdownDep,
) -> Response:
    """Turn a text, or up to 512 of them, into vectors of unit length: their dot product is their similarity.

    Compare only vectors of the same model. Therefore no other model ever answers in place of one that is not installed.
    """
    is_one = isinstance(body.text, str)
    async with shutdown.drain_guard():
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

"""The service's own API: models, generate, chat and embeddings under `/api/ollama`."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query
from starlette.responses import Response

from routers.dependencies import OllamaServiceDep, ShutdownDep
from routers.direct_route import DirectRoute
from routers.openapi import examples, response_examples
from routers.openapi.error_codes import LIST_CODES, MODEL_CODES
from routers.openapi.schema import MODEL_HEADERS, operation_id, problems, stream_response, success_response
from routers.responses.json_response import json_response
from routers.responses.streaming import StreamingCompletion, model_headers
from routers.schemas.ollama import ChatRequest, EmbeddingsRequest, GenerateRequest
from routers.schemas.ollama_responses import (
    ChatResponse,
    EmbeddingsResponse,
    GenerateResponse,
    ModelDetailsResponse,
    ModelsResponse,
)
from services.completion import Completion

LIST_PROBLEMS = problems(*LIST_CODES)
MODEL_PROBLEMS = problems(*MODEL_CODES)

router = APIRouter(
    prefix="/api/ollama", tags=["ollama"], route_class=DirectRoute, generate_unique_id_function=operation_id
)


@router.get(
    "/models",
    summary="List the installed models",
    response_model=ModelsResponse,
    responses=success_response("The installed models.", response_examples.MODELS_RESPONSES) | LIST_PROBLEMS,
)
async def models(
    service: OllamaServiceDep,
    force_refresh: Annotated[
        bool, Query(description="Read the list from Ollama now; fails if Ollama does not respond.")
    ] = False,
) -> Response:
    """List the installed models.

    The list is cached for `OLLAMA_MODELS_TTL`, and refreshed earlier if a request names a model that is not in it.
    While Ollama does not respond, the last list is returned with `"stale": true`.
    """
    found = await service.models(force_refresh=force_refresh)
    return json_response({"success": True, **asdict(found)})


@router.get(
    "/models/{name:path}",
    summary="Get a model",
    response_model=ModelDetailsResponse,
    responses=success_response("The model.", response_examples.MODEL_DETAILS_RESPONSES)
    | LIST_PROBLEMS
    | problems("model_not_found"),
)
async def model(
    name: Annotated[
        str,
        Path(
            description="Model name as in requests; it may contain slashes and a colon.", examples=["nomic-embed-text"]
        ),
    ],
    service: OllamaServiceDep,
) -> Response:
    """Return the properties of an installed model, and whether it is loaded. The model is not loaded by this.

    Ollama is asked for the properties once per model, and for the loaded state each time.
    """
    if not name.strip("/"):
        return await models(service)
    return json_response({"success": True, **asdict(await service.model_details(name.removesuffix("/")))})


@router.post(
    "/generate",
    summary="Generate a response to a prompt",
    response_model=GenerateResponse,
    responses=stream_response(response_examples.GENERATE_RESPONSES) | MODEL_PROBLEMS,
)
async def generate(
    body: Annotated[GenerateRequest, Body(openapi_examples=examples.GENERATE)],
    service: OllamaServiceDep,
    shutdown: ShutdownDep,
) -> Response:
    """Generate a response to a single prompt: text, or JSON that follows a schema.

    Only `prompt` is required. The first response of a model takes longer because Ollama has to load it
    (`timings.load_ms`). Thinking models think before they respond, and their thinking counts towards `max_tokens`. To
    stream the response, send `"stream": true` and select the format with `Accept`. If the client disconnects, the
    generation stops.
    """
    request = body.to_completion_request()
    if body.stream:
        return StreamingCompletion(request, service, shutdown)
    async with shutdown.drain_guard():
        return _completion_response(await service.complete(request))


@router.post(
    "/chat",
    summary="Continue a conversation",
    response_model=ChatResponse,
    responses=stream_response(response_examples.CHAT_RESPONSES) | MODEL_PROBLEMS,
)
async def chat(
    body: Annotated[ChatRequest, Body(openapi_examples=examples.CHAT)],
    service: OllamaServiceDep,
    shutdown: ShutdownDep,
) -> Response:
    """Generate the next message of a conversation.

    The service is stateless: send the whole conversation each time, and append `message` of the response to it. The
    role `system` instructs the model; `tool` has the result of a function that the model called in `tool_calls`.
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
    return _completion_response(completion, message=message)


@router.post(
    "/embeddings",
    summary="Create embeddings",
    response_model=EmbeddingsResponse,
    responses=success_response(
        "A single vector for a text, a list of vectors for a list.",
        response_examples.EMBEDDINGS_RESPONSES,
        MODEL_HEADERS,
    )
    | MODEL_PROBLEMS,
)
async def embeddings(
    body: Annotated[EmbeddingsRequest, Body(openapi_examples=examples.EMBEDDINGS)],
    service: OllamaServiceDep,
    shutdown: ShutdownDep,
) -> Response:
    """Create embeddings of 1 to 512 texts. The vectors have unit length: their dot product is the cosine similarity.

    Only vectors of the same model can be compared, so there is no fallback model.

    Most embedding models were trained with a prefix for each type of input and find far less without it; Ollama adds
    none. `input_type` adds it: `document` for stored texts, `query` for searches. Both sides must be made the same way:
    vectors stored without `input_type` only match searches without it.
    """
    is_one = isinstance(body.text, str)
    async with shutdown.drain_guard():
        found = await service.embed(
            [body.text] if isinstance(body.text, str) else body.text,
            model=body.model,
            input_type=body.input_type,
            dimensions=body.dimensions,
            truncate=body.truncate,
            keep_alive=body.keep_alive,
        )
    content = {
        "success": True,
        "embeddings": found.vectors[0] if is_one else found.vectors,
        "dimension": len(found.vectors[0]),
        "model": found.model,
        "prefix": found.prefix,
        "usage": {"prompt_tokens": found.prompt_tokens},
        "warnings": found.warnings,
    }
    return json_response(content, {"X-Model": found.model, "X-Model-Fallback": "false"})


def _completion_response(completion: Completion, **members: Any) -> Response:
    served, done = completion.served, completion.done
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
    return json_response(content, {"Vary": "Accept", **model_headers(served)})

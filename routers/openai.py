"""OpenAI's API under `/v1`, with the same models, queue and errors as `/api/ollama`."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body
from starlette.responses import Response

from routers.dependencies import OllamaServiceDep, ShutdownDep
from routers.direct_route import DirectRoute
from routers.openapi import openai_examples as examples
from routers.openapi.error_codes import LIST_CODES, MODEL_CODES
from routers.openapi.openai_schema import completion_responses, openai_errors
from routers.openapi.schema import MODEL_HEADERS, operation_id, success_response
from routers.responses.json_response import json_response
from routers.responses.openai import ChatCompletionResponse, ChatCompletionStream, base64_vector
from routers.schemas.openai import ChatCompletionRequest, OpenAIEmbeddingsRequest
from routers.schemas.openai_responses import ChatCompletion, OpenAIEmbeddings, OpenAIModel, OpenAIModels
from routers.schemas.openai_to_ollama import to_completion_request, to_texts
from services.ollama.errors import ModelNotFoundError
from services.ollama.parsing.model_list import whole_number
from services.ollama.types.model_names import ModelName

LIST_ERRORS = openai_errors(*(code for code in LIST_CODES if code != "invalid_request"))  # there is no parameter
MODEL_ERRORS = openai_errors(*MODEL_CODES, "unsupported_parameter")

router = APIRouter(prefix="/v1", tags=["openai"], route_class=DirectRoute, generate_unique_id_function=operation_id)


@router.get(
    "/models",
    summary="List models",
    response_model=OpenAIModels,
    responses=success_response("The installed models.", examples.MODELS) | LIST_ERRORS,
)
async def openai_models(service: OllamaServiceDep) -> Response:
    """List the installed models; while Ollama does not respond, the last list is returned."""
    found = await service.models()
    return json_response({"object": "list", "data": [_model(model) for model in found.models]})


@router.get(
    "/models/{id:path}",
    summary="Retrieve a model",
    response_model=OpenAIModel,
    responses=success_response("The model.", examples.MODEL)
    | LIST_ERRORS
    | openai_errors("model_not_found", "invalid_request"),
)
async def openai_model(id: str, service: OllamaServiceDep) -> Response:  # noqa: A002 - OpenAI's name
    """Retrieve an installed model. Names are compared as in Ollama and may contain slashes and a colon."""
    name = id.removesuffix("/")
    if not name:
        return await openai_models(service)
    if not await service.is_model_available(name):
        available = [model["name"] for model in (await service.models()).models]
        raise ModelNotFoundError(f"The model {name!r} is not installed.", available=available)
    wanted = ModelName.parse(name)
    models = (await service.models()).models
    # A cloud model of Ollama is available without being in the list.
    unlisted = {"name": name, "model": name}
    return json_response(_model(next((m for m in models if ModelName.parse(m["model"]) == wanted), unlisted)))


@router.post(
    "/chat/completions",
    summary="Create a chat completion",
    response_model=ChatCompletion,
    responses=completion_responses(examples.COMPLETIONS, examples.CHUNKS) | MODEL_ERRORS,
)
async def chat_completions(
    body: Annotated[ChatCompletionRequest, Body(openapi_examples=examples.CHAT)],
    service: OllamaServiceDep,
    shutdown: ShutdownDep,
) -> Response:
    """Continue a conversation, for OpenAI's clients with the base URL `/v1`.

    `model` in the response is the model that responded. `DEFAULT_MODEL` replaces a model that is not installed or fails
    to load, unless the request has `"fallback": false` or the header `X-Fallback: false`. With `stream`, the response
    is a stream of chunks, with `: ping` comments when idle. It ends with `[DONE]`, or with `{"error": …}` if it fails.
    Fields that Ollama does not have are ignored, except those that would change the response, which are rejected.
    """
    request = to_completion_request(body)
    if body.stream:
        include_usage = bool(body.stream_options and body.stream_options.include_usage)
        return ChatCompletionStream(request, service, shutdown, include_usage=include_usage)
    return ChatCompletionResponse(request, service, shutdown)


@router.post(
    "/embeddings",
    summary="Create embeddings",
    response_model=OpenAIEmbeddings,
    responses=success_response(
        "A vector for each text, in the same order.", examples.EMBEDDINGS_RESPONSES, MODEL_HEADERS
    )
    | MODEL_ERRORS,
)
async def openai_embeddings(
    body: Annotated[OpenAIEmbeddingsRequest, Body(openapi_examples=examples.EMBEDDINGS)],
    service: OllamaServiceDep,
    shutdown: ShutdownDep,
) -> Response:
    """Create embeddings of 1 to 2048 texts. The vectors have unit length.

    Only vectors of the same model can be compared, so there is no fallback model. `input_type` adds the prefix that the
    model was trained with, as in `/api/ollama/embeddings`.
    """
    texts = to_texts(body.input)
    async with shutdown.drain_guard():
        found = await service.embed(
            texts,
            model=body.model,
            input_type=body.input_type,
            dimensions=body.dimensions,
            truncate=body.truncate,
            keep_alive=body.keep_alive,
        )
    vectors: list[Any] = found.vectors
    if body.encoding_format == "base64":
        vectors = [base64_vector(vector) for vector in found.vectors]
    tokens = found.prompt_tokens or 0
    content = {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)],
        "model": found.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "prefix": found.prefix,
        "warnings": found.warnings,
    }
    return json_response(content, {"X-Model": found.model, "X-Model-Fallback": "false"})


def _model(model: dict[str, Any]) -> dict[str, Any]:
    try:
        created = int(datetime.fromisoformat(model.get("modified_at") or "").timestamp())
    except (OverflowError, TypeError, ValueError):
        created = 0
    owner = ModelName.parse(model["model"]).namespace
    return {
        "id": model["name"],
        "object": "model",
        "created": max(created, 0),
        "owned_by": owner,
        "context_length": whole_number((model.get("details") or {}).get("context_length")),
        "capabilities": model.get("capabilities"),
    }

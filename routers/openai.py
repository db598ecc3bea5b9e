"""OpenAI's API, for its clients: the same models, queue and failures as under `/api/ollama`."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body
from starlette.responses import Response

from routers.dependencies import OllamaServiceDep, ShutdownDep
from routers.direct_route import DirectRoute
from routers.openapi import openai_examples as examples
from routers.openapi.openai_schema import completion_responses, openai_errors
from routers.openapi.schema import MODEL_HEADERS, operation_id, success_response
from routers.responses.openai import (
    ChatCompletionStream,
    WholeChatCompletion,
    base64_vector,
    json_response,
)
from routers.schemas.openai import ChatCompletionRequest, OpenAIEmbeddingsRequest
from routers.schemas.openai_responses import ChatCompletion, OpenAIEmbeddings, OpenAIModel, OpenAIModels
from routers.schemas.openai_to_ollama import to_completion_request, to_texts
from server.request_log import note
from services.ollama.errors import ModelNotFoundError
from services.ollama.types.model_names import ModelName

LIST_ERRORS = openai_errors(
    "bad_request",
    "unauthorized",
    "host_not_allowed",
    "request_timeout",
    "headers_too_large",
    "internal_error",
    "ollama_error",
    "ollama_unavailable",
    "timeout",
)
MODEL_ERRORS = openai_errors(
    "bad_request",
    "rejected_by_ollama",
    "unsupported_parameter",
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

router = APIRouter(prefix="/v1", tags=["openai"], route_class=DirectRoute, generate_unique_id_function=operation_id)


@router.get(
    "/models",
    summary="List models",
    response_model=OpenAIModels,
    responses=success_response("The models that requests may name.", examples.MODELS) | LIST_ERRORS,
)
async def openai_models(service: OllamaServiceDep) -> Response:
    """List the installed models, in OpenAI's form; while Ollama does not answer, the last list."""
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
    """Look up an installed model; its name is compared as Ollama does, and may hold slashes and a colon."""
    name = id.removesuffix("/")
    if not name:
        return await openai_models(service)
    if not await service.is_model_available(name):
        available = [model["name"] for model in (await service.models()).models]
        raise ModelNotFoundError(f"The model {name!r} is not installed.", available=available)
    wanted = ModelName.parse(name)
    models = (await service.models()).models
    # A model that runs in Ollama's cloud is available without being in the list.
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
    """Answer the last message of a conversation, as OpenAI's clients ask for it: base URL `/v1`.

    `model` of the answer is the one that answered. `DEFAULT_MODEL` answers for a model that is not installed, unless
    the request says `"fallback": false` or has the header `X-Fallback: false`. With `stream` the answer comes as
    chunks, `: ping` comments in silence, and `[DONE]`; one that fails ends with `{"error": …}` and no `[DONE]`.
    Fields that say nothing to Ollama are ignored; what would change the answer and cannot be done is refused by name.
    """
    request = to_completion_request(body)
    if body.stream:
        include_usage = bool(body.stream_options and body.stream_options.include_usage)
        return ChatCompletionStream(request, service, shutdown, include_usage=include_usage)
    return WholeChatCompletion(request, service, shutdown)


@router.post(
    "/embeddings",
    summary="Create embeddings",
    response_model=OpenAIEmbeddings,
    responses=success_response("A vector for each text, in their order.", examples.EMBEDDINGS_ANSWERS, MODEL_HEADERS)
    | MODEL_ERRORS,
)
async def openai_embeddings(
    body: Annotated[OpenAIEmbeddingsRequest, Body(openapi_examples=examples.EMBEDDINGS)],
    service: OllamaServiceDep,
    shutdown: ShutdownDep,
) -> Response:
    """Turn a text, or up to 2048 of them, into vectors of unit length, as OpenAI's clients ask for them.

    No other model ever answers in place of one that is not installed: only vectors of one model can be compared.
    """
    texts = to_texts(body.input)
    async with shutdown.drain_guard():
        found = await service.embed(
            texts,
            model=body.model,
            dimensions=body.dimensions,
            truncate=body.truncate,
            keep_alive=body.keep_alive,
        )
    note(model=found.model, tokens=found.prompt_tokens)
    vectors: list[Any] = found.vectors
    if body.encoding_format == "base64":
        vectors = [base64_vector(vector) for vector in found.vectors]
    tokens = found.prompt_tokens or 0
    content = {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)],
        "model": found.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return json_response(content, {"X-Model": found.model, "X-Model-Fallback": "false"})


def _model(model: dict[str, Any]) -> dict[str, Any]:
    try:
        created = int(datetime.fromisoformat(model.get("modified_at") or "").timestamp())
    except (OverflowError, TypeError, ValueError):
        created = 0
    owner = ModelName.parse(model["model"]).namespace
    return {"id": model["name"], "object": "model", "created": max(created, 0), "owned_by": owner}

"""Ollama's own API, for its clients: requests and answers pass as they are, behind the same queue and deadlines."""

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from routers.dependencies import OllamaServiceDep, ShutdownDep
from routers.direct_route import DirectRoute
from routers.openapi import native_examples as examples
from routers.openapi.native import json_response, request_body, stream_response
from routers.openapi.schema import operation_id
from routers.responses.relay import RelayedControl, RelayedGeneration

MANAGEMENT_PATHS = ("pull", "push", "create", "copy", "delete", "blobs/{digest:path}")
NOT_OFFERED = "This service does not manage models: they are pulled, made and removed with Ollama itself."


router = APIRouter(prefix="/api", tags=["native"], route_class=DirectRoute, generate_unique_id_function=operation_id)


@router.post(
    "/chat",
    summary="Ollama's chat",
    responses=stream_response(examples.CHAT_RESPONSE),
    openapi_extra=request_body("chat", examples.CHAT),
)
async def native_chat(service: OllamaServiceDep, shutdown: ShutdownDep) -> Response:
    """Continue a conversation: <https://docs.ollama.com/api/chat>. Streams NDJSON unless `stream` is false."""
    return RelayedGeneration("/api/chat", service, shutdown)


@router.post(
    "/generate",
    summary="Ollama's generate",
    responses=stream_response(examples.GENERATE_RESPONSE),
    openapi_extra=request_body("generate", examples.GENERATE),
)
async def native_generate(service: OllamaServiceDep, shutdown: ShutdownDep) -> Response:
    """Answer a prompt: <https://docs.ollama.com/api/generate>. Streams NDJSON unless `stream` is false."""
    return RelayedGeneration("/api/generate", service, shutdown)


@router.post(
    "/embed",
    summary="Ollama's embed",
    responses=json_response(examples.EMBED_RESPONSE),
    openapi_extra=request_body("embed", examples.EMBED),
)
async def native_embed(service: OllamaServiceDep, shutdown: ShutdownDep) -> Response:
    """Turn texts into vectors: <https://docs.ollama.com/api/embed>."""
    return RelayedGeneration("/api/embed", service, shutdown)


@router.post(
    "/embeddings",
    summary="Ollama's embeddings, the older form",
    responses=json_response(examples.EMBEDDINGS_RESPONSE),
    openapi_extra=request_body("embeddings", examples.EMBEDDINGS),
)
async def native_embeddings(service: OllamaServiceDep, shutdown: ShutdownDep) -> Response:
    """Turn one text into a vector; newer clients use `/api/embed`."""
    return RelayedGeneration("/api/embeddings", service, shutdown)


@router.post(
    "/show",
    summary="Ollama's show",
    responses=json_response(examples.SHOW_RESPONSE),
    openapi_extra=request_body("show", examples.SHOW),
)
async def native_show(service: OllamaServiceDep) -> Response:
    """Describe a model: <https://docs.ollama.com/api-reference/show-model-details>."""
    return RelayedControl("POST", "/api/show", service)


@router.get("/tags", summary="Ollama's list of installed models", responses=json_response(examples.TAGS_RESPONSE))
async def native_tags(service: OllamaServiceDep) -> Response:
    """List the installed models: <https://docs.ollama.com/api/tags>."""
    return RelayedControl("GET", "/api/tags", service)


@router.get("/ps", summary="Ollama's list of loaded models", responses=json_response(examples.PS_RESPONSE))
async def native_ps(service: OllamaServiceDep) -> Response:
    """List the models that are loaded: <https://docs.ollama.com/api/ps>."""
    return RelayedControl("GET", "/api/ps", service)


@router.get("/version", summary="Ollama's version", responses=json_response(examples.VERSION_RESPONSE))
async def native_version(service: OllamaServiceDep) -> Response:
    """Tell Ollama's version: <https://docs.ollama.com/api-reference/get-version>."""
    return RelayedControl("GET", "/api/version", service)


class _NotOffered:
    """What manages models, with any method."""

    async def __call__(self, _scope: Scope, _receive: Receive, _send: Send) -> None:
        raise HTTPException(403, NOT_OFFERED)


router.routes += [Route(f"/api/{path}", _NotOffered(), include_in_schema=False) for path in MANAGEMENT_PATHS]

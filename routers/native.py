"""Ollama's own API under `/api`: requests and responses pass unchanged, with the same queue and timeouts."""

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
NOT_OFFERED = "This service does not manage models; use Ollama directly to pull, create or delete them."


router = APIRouter(prefix="/api", tags=["native"], route_class=DirectRoute, generate_unique_id_function=operation_id)


@router.post(
    "/chat",
    summary="Chat (Ollama)",
    responses=stream_response(examples.CHAT_RESPONSE),
    openapi_extra=request_body("chat", examples.CHAT),
)
async def native_chat(service: OllamaServiceDep, shutdown: ShutdownDep) -> Response:
    """Continue a conversation: <https://docs.ollama.com/api/chat>. Streams NDJSON unless `stream` is false."""
    return RelayedGeneration("/api/chat", service, shutdown)


@router.post(
    "/generate",
    summary="Generate (Ollama)",
    responses=stream_response(examples.GENERATE_RESPONSE),
    openapi_extra=request_body("generate", examples.GENERATE),
)
async def native_generate(service: OllamaServiceDep, shutdown: ShutdownDep) -> Response:
    """Generate text: <https://docs.ollama.com/api/generate>. Streams NDJSON unless `stream` is false."""
    return RelayedGeneration("/api/generate", service, shutdown)


@router.post(
    "/embed",
    summary="Embed (Ollama)",
    responses=json_response(examples.EMBED_RESPONSE),
    openapi_extra=request_body("embed", examples.EMBED),
)
async def native_embed(service: OllamaServiceDep, shutdown: ShutdownDep) -> Response:
    """Create embeddings: <https://docs.ollama.com/api/embed>."""
    return RelayedGeneration("/api/embed", service, shutdown)


@router.post(
    "/embeddings",
    summary="Embeddings (Ollama, older endpoint)",
    responses=json_response(examples.EMBEDDINGS_RESPONSE),
    openapi_extra=request_body("embeddings", examples.EMBEDDINGS),
)
async def native_embeddings(service: OllamaServiceDep, shutdown: ShutdownDep) -> Response:
    """Create the embedding of one text; newer clients use `/api/embed`."""
    return RelayedGeneration("/api/embeddings", service, shutdown)


@router.post(
    "/show",
    summary="Show model details (Ollama)",
    responses=json_response(examples.SHOW_RESPONSE),
    openapi_extra=request_body("show", examples.SHOW),
)
async def native_show(service: OllamaServiceDep) -> Response:
    """Show the details of a model: <https://docs.ollama.com/api-reference/show-model-details>."""
    return RelayedControl("POST", "/api/show", service)


@router.get("/tags", summary="List installed models (Ollama)", responses=json_response(examples.TAGS_RESPONSE))
async def native_tags(service: OllamaServiceDep) -> Response:
    """List the installed models: <https://docs.ollama.com/api/tags>."""
    return RelayedControl("GET", "/api/tags", service)


@router.get("/ps", summary="List loaded models (Ollama)", responses=json_response(examples.PS_RESPONSE))
async def native_ps(service: OllamaServiceDep) -> Response:
    """List the loaded models: <https://docs.ollama.com/api/ps>."""
    return RelayedControl("GET", "/api/ps", service)


@router.get("/version", summary="Version (Ollama)", responses=json_response(examples.VERSION_RESPONSE))
async def native_version(service: OllamaServiceDep) -> Response:
    """Return the version of Ollama: <https://docs.ollama.com/api-reference/get-version>."""
    return RelayedControl("GET", "/api/version", service)


class _NotOffered:
    """Rejects requests that manage models, with any method."""

    async def __call__(self, _scope: Scope, _receive: Receive, _send: Send) -> None:
        raise HTTPException(403, NOT_OFFERED)


router.routes += [Route(f"/api/{path}", _NotOffered(), include_in_schema=False) for path in MANAGEMENT_PATHS]

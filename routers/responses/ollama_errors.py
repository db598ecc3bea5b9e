"""Errors in the format of Ollama's own API."""

from typing import Any

from starlette.types import Scope

ENDPOINTS = (
    "Available under /api: POST /api/chat, /api/generate, /api/embed, /api/embeddings and /api/show, "
    "GET /api/tags, /api/ps and /api/version; this service's API is under /api/ollama."
)
DISABLED = "Ollama's own API is disabled (OLLAMA_API_ENABLED); this service's API is under /api/ollama."


def ollama_error(problem: dict[str, Any], scope: Scope) -> tuple[dict[str, Any], dict[str, str]]:
    """Convert a problem document to a body; there are no additional headers."""
    return {"error": _not_found(scope) if problem["code"] == "not_found" else problem["detail"]}, {}


def _not_found(scope: Scope) -> str:
    return f"The path does not exist. {ENDPOINTS}" if scope["app"].state.settings.ollama_api_enabled else DISABLED

"""Failures in the form of Ollama's own API."""

from typing import Any

from starlette.types import Scope

ENDPOINTS = (
    "Offered under /api are POST /api/chat, /api/generate, /api/embed, /api/embeddings and /api/show, and "
    "GET /api/tags, /api/ps and /api/version; this service's own API is under /api/ollama."
)
DISABLED = "Ollama's own API is switched off here (OLLAMA_API_ENABLED); this service's own is under /api/ollama."


def ollama_error(problem: dict[str, Any], scope: Scope) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the body of an error, given as a problem document, and no further headers."""
    return {"error": _not_found(scope) if problem["code"] == "not_found" else problem["detail"]}, {}


def _not_found(scope: Scope) -> str:
    return f"No such path. {ENDPOINTS}" if scope["app"].state.settings.ollama_api_enabled else DISABLED

"""Parsers of the properties of one model: `/api/show`, and its entry in `/api/ps`.

See https://docs.ollama.com/api-reference/show-model-details and https://docs.ollama.com/api/ps.
"""

from dataclasses import dataclass
from typing import Any

from services.ollama.errors import OllamaResponseError
from services.ollama.parsing.model_list import whole_number
from services.ollama.types.model_names import ModelName


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Properties that do not change while a model is installed; None if Ollama does not report them.

    `context_length` is the length in tokens that the model was trained for; `embedding_length` is the width of its
    vectors.
    """

    details: dict[str, Any]
    capabilities: list[str] | None
    context_length: int | None
    embedding_length: int | None


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """State of a loaded model; `context_length` is the length in tokens that it was loaded with."""

    expires_at: str | None
    context_length: int | None
    size_vram: int | None


def parse_show(document: object) -> ModelFacts:
    """Parse the response of `/api/show`.

    Raises:
        OllamaResponseError: if it is no object.
    """
    if not isinstance(document, dict):
        raise _malformed()
    details, info = _object(document, "details"), _object(document, "model_info")
    architecture = info.get("general.architecture")
    capabilities = document.get("capabilities")
    return ModelFacts(
        details,
        [one for one in capabilities if isinstance(one, str)] or None if isinstance(capabilities, list) else None,
        whole_number(info.get(f"{architecture}.context_length")),
        whole_number(info.get(f"{architecture}.embedding_length")),
    )


def find_loaded(document: object, exact_name: str, digest: str | None) -> LoadedModel | None:
    """Return a model's entry in the response of `/api/ps`, None if it is not loaded.

    Copies of a model have the same digest and share what is loaded.

    Raises:
        OllamaResponseError: if the response has no list of models.
    """
    entries = document.get("models", ()) if isinstance(document, dict) else ()
    if not isinstance(entries, list | None):
        raise _malformed()
    wanted = ModelName.parse(exact_name)
    objects = [entry for entry in entries or () if isinstance(entry, dict)]
    by_name = (entry for entry in objects if _is_named(entry, wanted))
    by_digest = (entry for entry in objects if digest and entry.get("digest") == digest)
    found = next(by_name, None) or next(by_digest, None)
    if found is None:
        return None
    expires_at = found.get("expires_at")
    return LoadedModel(
        expires_at if isinstance(expires_at, str) else None,
        whole_number(found.get("context_length")) or None,
        whole_number(found.get("size_vram")),
    )


def _is_named(entry: dict[str, Any], wanted: ModelName) -> bool:
    name = entry.get("model") or entry.get("name")
    try:
        return isinstance(name, str) and ModelName.parse(name) == wanted
    except ValueError:
        return False


def _object(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _malformed() -> OllamaResponseError:
    return OllamaResponseError("Ollama's answer about a model does not have the expected structure.")

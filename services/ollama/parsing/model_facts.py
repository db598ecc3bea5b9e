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

    digest: str | None = None
    expires_at: str | None = None
    context_length: int | None = None
    size_vram: int | None = None


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


def parse_loaded(document: object) -> dict[ModelName, LoadedModel]:
    """Parse the response of `/api/ps`; entries without a usable name are skipped.

    Raises:
        OllamaResponseError: if the response has no list of models.
    """
    entries = document.get("models", ()) if isinstance(document, dict) else ()
    if not isinstance(entries, list | None):
        raise _malformed()
    found: dict[ModelName, LoadedModel] = {}
    for entry in entries or ():
        name = _name(entry)
        if name is not None and name not in found:
            digest, expires_at = entry.get("digest"), entry.get("expires_at")
            found[name] = LoadedModel(
                digest if isinstance(digest, str) else None,
                expires_at if isinstance(expires_at, str) else None,
                whole_number(entry.get("context_length")) or None,
                whole_number(entry.get("size_vram")),
            )
    return found


def find_loaded(document: object, exact_name: str, digest: str | None) -> LoadedModel | None:
    """Return a model's entry in the response of `/api/ps`, None if it is not loaded.

    Copies of a model have the same digest and share what is loaded.

    Raises:
        OllamaResponseError: if the response has no list of models.
    """
    loaded = parse_loaded(document)
    copies = (model for model in loaded.values() if digest and model.digest == digest)
    return loaded.get(ModelName.parse(exact_name)) or next(copies, None)


def _name(entry: object) -> ModelName | None:
    name = (entry.get("model") or entry.get("name")) if isinstance(entry, dict) else None
    try:
        return ModelName.parse(name) if isinstance(name, str) else None
    except ValueError:
        return None


def _object(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _malformed() -> OllamaResponseError:
    return OllamaResponseError("Ollama's answer about a model does not have the expected structure.")

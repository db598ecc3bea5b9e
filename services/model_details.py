"""Details of one model."""

from dataclasses import dataclass
from typing import Any

from config import Settings
from services.ollama.errors import InvalidRequestError, NotFoundError, OllamaError
from services.ollama.parsing.model_facts import LoadedModel
from services.ollama.types.embedding_prefixes import known_prefixes
from services.ollama.types.model_names import short_name
from services.upstream import Upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDetails:
    """An installed model; None for what Ollama does not report. Lengths are in tokens, sizes in bytes.

    `context_length` is what the model was trained for, `loaded_context_length` what it was loaded with.
    `embedding_length` is the width of its vectors. `prefixes` are those of its family by `input_type`.
    """

    name: str
    model: str
    size: int | None
    modified_at: str | None
    digest: str | None
    family: str | None
    parameter_size: str | None
    quantization_level: str | None
    context_length: int | None
    embedding_length: int | None
    capabilities: list[str] | None
    loaded: bool | None
    expires_at: str | None
    loaded_context_length: int | None
    size_vram: int | None
    prefixes: dict[str, str] | None


async def model_details(upstream: Upstream, settings: Settings, name: str) -> ModelDetails:
    """Return the details of an installed model from the list, `/api/show` and `/api/ps`; the model is not loaded.

    Raises:
        ModelNotFoundError: if it is not installed.
        OllamaError: if Ollama cannot be asked.
    """
    try:
        exact = await upstream.catalog.find(name)
    except ValueError as error:
        raise InvalidRequestError(f"{name!r} is not {error}.", field="name") from error
    if exact is None:
        raise upstream.unknown(name)
    try:
        facts = await upstream.facts.facts(exact)
    except NotFoundError as error:
        upstream.catalog.invalidate()
        raise upstream.unknown(name) from error
    item = upstream.catalog.item(exact) or {}
    details = {**(item.get("details") or {}), **facts.details}
    prefixes = known_prefixes(exact, settings.embedding_prefixes or {})
    return ModelDetails(
        name=short_name(exact),
        model=exact,
        size=item.get("size"),
        modified_at=item.get("modified_at"),
        digest=item.get("digest"),
        family=_text(details, "family"),
        parameter_size=_text(details, "parameter_size"),
        quantization_level=_text(details, "quantization_level"),
        context_length=facts.context_length,
        embedding_length=facts.embedding_length,
        capabilities=facts.capabilities or item.get("capabilities"),
        prefixes=dict(prefixes) if prefixes is not None else None,
        **await _loaded(upstream, exact),
    )


async def _loaded(upstream: Upstream, exact: str) -> dict[str, Any]:
    is_known, found = True, None
    try:
        found = await upstream.facts.loaded(exact)
    except OllamaError:  # return the other details
        is_known = False
    loaded = found or LoadedModel()
    return {
        "loaded": found is not None if is_known else None,
        "expires_at": loaded.expires_at,
        "loaded_context_length": loaded.context_length,
        "size_vram": loaded.size_vram,
    }


def _text(details: dict[str, Any], name: str) -> str | None:
    value = details.get(name)
    return value if isinstance(value, str) and value else None

"""Capability checks: requests that a model cannot serve are rejected before they are queued."""

from typing import NamedTuple

from config import Settings
from services.completion import CompletionRequest
from services.ollama.errors import MissingCapabilityError
from services.ollama.types.model_names import short_name
from services.upstream import Upstream


class Need(NamedTuple):
    """A capability by Ollama's name, the request field that requires it, and what it is for."""

    capability: str
    field: str
    failing: str


WRITING = Need("completion", "model", "write text")
EMBEDDING = Need("embedding", "model", "make embeddings")


def needs_of(request: CompletionRequest) -> list[Need]:
    """Return the capabilities that a completion requires."""
    content = request.content
    needs = [WRITING]
    if content.get("tools"):
        needs.append(Need("tools", "tools", "call tools"))
    if content.get("think"):
        needs.append(Need("thinking", "think", "think before it answers"))
    if content.get("images"):
        needs.append(Need("vision", "images", "see images"))
    elif any("images" in message for message in content.get("messages", ())):
        needs.append(Need("vision", "messages", "see images"))
    return needs


async def check_capabilities(
    upstream: Upstream, settings: Settings, exact_name: str, needs: list[Need], *, in_place_of: str | None = None
) -> None:
    """Reject a request that the model cannot serve; if Ollama does not report capabilities, nothing is rejected.

    `in_place_of` is the requested model if this one is its fallback.

    Raises:
        MissingCapabilityError: if the model lacks a capability; it names an installed model that has it.
    """
    capabilities = await upstream.facts.capabilities(exact_name)
    if capabilities is None:
        return
    for need in needs:
        if need.capability not in capabilities:
            preferred = (settings.default_model, settings.quality_model, settings.embedding_model)
            other = await upstream.facts.having(need.capability, preferred)
            which = f"The model {short_name(exact_name)!r}"
            if in_place_of is not None:
                which += f", the fallback for {in_place_of!r},"
            has_it = f"{other!r} has it" if other else "no installed model is known to have it"
            detail = f"{which} cannot {need.failing}: it lacks the capability `{need.capability}`; {has_it}."
            raise MissingCapabilityError(detail, field=need.field)

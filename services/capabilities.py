"""What a model has to be able to do for a request, checked before the request takes a place in the queue."""

from typing import NamedTuple

from config import Settings
from services.completion import CompletionRequest
from services.ollama.errors import MissingCapabilityError
from services.ollama.types.model_names import short_name
from services.upstream import Upstream


class Need(NamedTuple):
    """A capability by Ollama's name, the field that needs it, and what a model without it fails to do."""

    capability: str
    field: str
    failing: str


WRITING = Need("completion", "model", "write text")
EMBEDDING = Need("embedding", "model", "make embeddings")


def needs_of(request: CompletionRequest) -> list[Need]:
    """Return what a completion needs."""
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
    """Reject what a model cannot do; where Ollama does not tell, the request is for Ollama to decide.

    `in_place_of` is the model that was asked for, if this one is its fallback.

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
                which += f", which would answer in place of {in_place_of!r},"
            has_it = f"{other!r} has it" if other else "no installed model is known to have it"
            detail = f"{which} cannot {need.failing}: it lacks the capability `{need.capability}`; {has_it}."
            raise MissingCapabilityError(detail, field=need.field)

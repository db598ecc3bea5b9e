"""Capability checks: requests that a model cannot serve are rejected before they are queued."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from config import Settings
from services.ollama.errors import MissingCapabilityError
from services.ollama.types.model_names import short_name
from services.requests.request_builder import requested_model
from services.upstream import Upstream

EMBEDDING_PATHS = ("/api/embed", "/api/embeddings")
MARKS = {"tools": b'"tools"', "thinking": b'"think"', "vision": b'"images"'}
"""Field of a relayed request that may require a capability."""


class Need(NamedTuple):
    """A capability by Ollama's name, the request field that requires it, and what it is for."""

    capability: str
    field: str
    failing: str


WRITING = Need("completion", "model", "write text")
EMBEDDING = Need("embedding", "model", "make embeddings")
ONLY_WRITING = (WRITING,)


def needs_of(content: dict[str, Any]) -> Sequence[Need]:
    """Return the capabilities that a completion with these fields of Ollama's requires."""
    field_of_images = _field_of_images(content)
    tools, think = content.get("tools"), content.get("think")
    if field_of_images is None and not tools and not think:
        return ONLY_WRITING
    needs = [WRITING]
    if tools:
        needs.append(Need("tools", "tools", "call tools"))
    if think:
        needs.append(Need("thinking", "think", "think before it answers"))
    if field_of_images is not None:
        needs.append(Need("vision", field_of_images, "see images"))
    return needs


async def check_capabilities(
    upstream: Upstream, settings: Settings, exact_name: str, needs: Sequence[Need], *, in_place_of: str | None = None
) -> None:
    """Reject a request that the model cannot serve; if Ollama does not report capabilities, nothing is rejected.

    `in_place_of` is the requested model if this one is its fallback.

    Raises:
        MissingCapabilityError: if the model lacks a capability; it names an installed model that has it.
    """
    capabilities = upstream.facts.known_capabilities(exact_name)
    if capabilities is None:
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
            others = f"{other!r} does" if other else "no installed model is known to"
            detail = f"{which} cannot {need.failing}: it does not support {need.capability}; {others}."
            raise MissingCapabilityError(detail, field=need.field)


async def check_relayed(upstream: Upstream, settings: Settings, path: str, data: bytes, model: str | None) -> None:
    """Reject a request of Ollama's own API that its model cannot serve.

    It is parsed only if the model, as the beginning of the request names it, is not known to have what the request may
    require.

    Raises:
        MissingCapabilityError: if the model lacks a capability.
        InvalidRequestError: if the name of the model is not valid; only if the request had to be parsed.
    """
    name = upstream.catalog.cached_exact_name(model)
    known = upstream.facts.known_capabilities(name) if name is not None else None
    if not _may_lack(known, upstream.runs_llama_server, path, data):
        return
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        return
    if not isinstance(body, dict) or (requested := requested_model(body)) is None:
        return
    needs = _needs_of_relayed(path, body)
    exact = await upstream.exact_name(requested) if needs else None
    if exact is not None:
        await check_capabilities(upstream, settings, exact, needs)


def _may_lack(known: list[str] | None, runs_llama_server: bool | None, path: str, data: bytes) -> bool:
    """Return whether a relayed request may require a capability that is not among the known ones."""
    if path in EMBEDDING_PATHS:  # before 0.30, text models embed too
        return bool(runs_llama_server) and known is not None and EMBEDDING.capability not in known
    if known is not None and WRITING.capability not in known:
        return True
    return any(mark in data for capability, mark in MARKS.items() if known is None or capability not in known)


def _needs_of_relayed(path: str, body: dict[str, Any]) -> Sequence[Need]:
    if path in EMBEDDING_PATHS:
        return (EMBEDDING,) if body.get("input") or body.get("prompt") else ()
    messages = body.get("messages")
    objects = [one for one in messages if isinstance(one, dict)] if isinstance(messages, list) else []
    needs = needs_of(body | {"messages": objects})
    return needs if objects or body.get("prompt") else needs[1:]  # without a prompt, the model is loaded or unloaded


def _field_of_images(content: dict[str, Any]) -> str | None:
    if content.get("images"):
        return "images"
    for message in content.get("messages", ()):
        if message.get("images"):
            return "messages"
    return None

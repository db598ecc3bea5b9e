"""Detection of prompts that Ollama truncates because they are longer than the context of the model.

Ollama truncates silently. Its token counts prove it only for single prompts before 0.30: from a conversation it drops
whole messages, and newer versions truncate below the limit. Therefore a prompt that may be too long is sent with
`truncate: false` first. If it does not fit, Ollama rejects it before the model runs; it is then sent as requested, and
the response reports that it was truncated. See docs/adr/0007-truncated-prompts-are-sent-twice.md.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import orjson

from config import Settings
from services.completion import CompletionRequest, ResolvedModel
from services.ollama.errors import RejectedByOllamaError
from services.ollama.events import Done
from services.ollama.types.model_names import ModelName
from services.upstream import Upstream

logger = logging.getLogger(__name__)

T = TypeVar("T")

LEAST_DEFAULT_CONTEXT = 2048
"""Smallest default context length of any Ollama version."""
MAX_TOKENS_PER_CHARACTER = 3
MAX_TOKENS_PER_IMAGE = 4096
TOKENS_AROUND_A_MESSAGE = 16
TOKENS_OF_A_TEMPLATE = 256
ROLE_AND_CONTENT = 2
"""Number of fields of most messages."""
CAPPED_CONTEXTS = 9
"""Ollama limits a response to ten times the context length; such a response did not end for lack of room."""


async def send_or_truncate(
    send: Callable[[dict[str, Any]], Awaitable[T]], body: dict[str, Any], *, may_be_truncated: bool
) -> tuple[T, bool | None]:
    """Send a request; return its response and whether Ollama truncated the prompt, None if that was not found out.

    Raises:
        OllamaError: the error of the request as it was requested.
    """
    if body.get("truncate") is False:
        return await send(body), False
    if not may_be_truncated:
        return await send(body), None
    try:
        return await send(body | {"truncate": False}), False
    except RejectedByOllamaError:
        return await send(body), True  # if rejected for another reason, this raises it again


class PromptTruncation:
    """Sends one completion request and reports how its prompt fits into the context."""

    def __init__(
        self,
        upstream: Upstream,
        settings: Settings,
        request: CompletionRequest,
        resolved: ResolvedModel,
        exact_name: str,
    ) -> None:
        self._upstream = upstream
        self._request = request
        self._resolved = resolved
        self._exact_name = exact_name
        self._num_ctx: int | None = settings.ollama_num_ctx or request.options.get("num_ctx")
        self._num_predict: int = request.options.get("num_predict", settings.max_tokens)
        self._was_truncated: bool | None = None

    async def send(self, send: Callable[[dict[str, Any]], Awaitable[T]], body: dict[str, Any]) -> T:
        """Send the request, and add to the resolved model's warnings what Ollama did to the prompt.

        Raises:
            OllamaError: the error of the request as it was requested.
        """
        is_strict = body.get("truncate") is False or body.get("shift") is False
        is_long = self._may_be_too_long()
        if not is_strict and not is_long:
            return await send(body)
        await self._upstream.learn_version()
        ignores_truncate = self._upstream.ignores_truncate
        if is_strict and ignores_truncate:
            self._resolved.warnings.append("truncate_unsupported")
        may_be_truncated = is_long and not ignores_truncate and self._may_be_refused()
        response, was_truncated = await send_or_truncate(send, body, may_be_truncated=may_be_truncated)
        self._was_truncated = None if ignores_truncate else was_truncated
        if was_truncated:
            self._resolved.warnings.append("prompt_truncated")
        return response

    async def finish(self, done: Done) -> None:
        """Add the context length to the last event, and the warnings that its token counts prove.

        The count of a prompt that fits exactly is that of a truncated one, so a prompt that is known to fit is not
        judged by it.
        """
        context = await self._upstream.contexts.get(self._exact_name, self._num_ctx)
        usage, warnings = done.usage, done.warnings
        usage.context_length = context
        if context is None:
            return
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        if self._was_truncated is None and prompt is not None and prompt >= context:
            self._was_truncated = True
            self._resolved.warnings.append("prompt_truncated")  # for the header of a complete response
            warnings.append("prompt_truncated")
        if self._was_truncated:
            logger.warning("the prompt was longer than the context of %s and was truncated", self._exact_name)
        if done.done_reason == "length" and completion is not None:
            is_below_limit = self._num_predict < 0 or completion < self._num_predict
            if is_below_limit and completion < CAPPED_CONTEXTS * context:
                warnings.append("context_full")

    @property
    def is_known(self) -> bool:
        """Whether `finish` returns without asking Ollama."""
        return self._upstream.contexts.is_fresh(self._exact_name, self._num_ctx)

    def _may_be_too_long(self) -> bool:
        """Return whether the prompt may be longer than the context."""
        upstream, name = self._upstream, self._exact_name
        context = upstream.contexts.last_known(name, self._num_ctx)
        if context is None:
            context = self._num_ctx or LEAST_DEFAULT_CONTEXT
            context = min(context, upstream.facts.known_context(name) or context)
        return tokens_at_most(self._request.content) >= context

    def _may_be_refused(self) -> bool:
        """Return whether `truncate: false` is safe to try.

        A thinking model with a `format` processes the prompt twice, the second time with its thinking. With
        `truncate: false`, a prompt that fits the first time could fail in the middle of the response.
        """
        if ModelName.parse(self._exact_name).is_cloud:
            return False
        capabilities = self._upstream.facts.known_capabilities(self._exact_name)
        return self._request.response_format is None or (capabilities is not None and "thinking" not in capabilities)


def tokens_at_most(content: Mapping[str, Any]) -> int:
    """Return an upper bound of the prompt's tokens; a generous one, so that no truncated prompt is missed."""
    messages = content.get("messages", ())
    characters = len(content.get("prompt", "")) + len(content.get("system", ""))
    images = len(content.get("images", ()))
    if tools := content.get("tools"):
        characters += _json_length(tools)
    for message in messages:
        if text := message.get("content"):
            characters += len(text)
        if len(message) > ROLE_AND_CONTENT or not text:
            characters += len(message.get("thinking") or "")
            images += len(message.get("images") or ())
            if calls := message.get("tool_calls"):
                characters += _json_length(calls)
    return (
        MAX_TOKENS_PER_CHARACTER * characters
        + MAX_TOKENS_PER_IMAGE * images
        + TOKENS_AROUND_A_MESSAGE * len(messages)
        + TOKENS_OF_A_TEMPLATE
    )


def _json_length(value: Any) -> int:
    try:
        return len(orjson.dumps(value))
    except orjson.JSONEncodeError:  # nested too deeply: the client rejects it
        return 0

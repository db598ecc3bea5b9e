"""Whether a prompt fits into the context of its model, and what became of one that does not.

Ollama cuts what is too long and answers 200. Its counts show that only for single prompts, and only before 0.30: of a
conversation it drops whole messages, and newer versions cut below the limit. So a prompt that may be too long is sent
with `truncate: false` first. Ollama refuses it before the model runs if it does not fit; then it is sent as it was
asked for, and the answer says that it was cut.
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
"""The shortest context that any version of Ollama has by default."""
MAX_TOKENS_PER_CHARACTER = 3
MAX_TOKENS_PER_IMAGE = 4096
TOKENS_AROUND_A_MESSAGE = 16
TOKENS_OF_A_TEMPLATE = 256
CAPPED_CONTEXTS = 9
"""Ollama ends an answer after ten times the context: that is its own limit, and no lack of room."""


async def send_or_cut(
    send: Callable[[dict[str, Any]], Awaitable[T]], body: dict[str, Any], *, may_be_cut: bool
) -> tuple[T, bool]:
    """Send a request, and return its response with whether Ollama had to cut the prompt for it.

    Raises:
        OllamaError: that of the request as it was asked for.
    """
    if body.get("truncate") is False or not may_be_cut:
        return await send(body), False
    try:
        return await send(body | {"truncate": False}), False
    except RejectedByOllamaError:
        return await send(body), True  # refused for another reason, it is so once more


class PromptFit:
    """One prompt, and the context of the model that it is sent to."""

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

    async def send(self, send: Callable[[dict[str, Any]], Awaitable[T]], body: dict[str, Any]) -> T:
        """Send the request and note in the resolved model's warnings what Ollama did to the prompt.

        Raises:
            OllamaError: that of the request as it was asked for.
        """
        if body.get("truncate") is False or body.get("shift") is False:
            await self._upstream.learn_version()
            if self._upstream.ignores_truncate:
                self._resolved.warnings.append("truncate_unsupported")
        response, was_cut = await send_or_cut(send, body, may_be_cut=self._may_be_cut())
        if was_cut:
            self._resolved.warnings.append("prompt_truncated")
        return response

    async def tell(self, done: Done) -> None:
        """Add the context length to the end of an answer, and the warnings that its counts prove."""
        context = await self._upstream.contexts.get(self._exact_name, self._num_ctx)
        usage, warnings = done.usage, done.warnings
        usage.context_length = context
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        if context is not None and prompt is not None and prompt >= context and "prompt_truncated" not in warnings:
            warnings.append("prompt_truncated")
        if "prompt_truncated" in warnings:
            logger.warning("the prompt was longer than the context of %s and was cut", self._exact_name)
        if done.done_reason == "length" and context is not None and completion is not None:
            is_below_limit = self._num_predict < 0 or completion < self._num_predict
            if is_below_limit and completion < CAPPED_CONTEXTS * context:
                warnings.append("context_full")

    @property
    def is_known(self) -> bool:
        """Whether `tell` has nothing to wait for."""
        return self._upstream.contexts.is_fresh(self._exact_name, self._num_ctx)

    def _may_be_cut(self) -> bool:
        """Return whether the prompt may be too long, and Ollama can be asked to refuse it then.

        A model that thinks before it writes JSON reads the prompt twice, the second time with its thoughts: what fits
        at first may not fit then, and the answer would break off.
        """
        upstream = self._upstream
        if upstream.ignores_truncate or ModelName.parse(self._exact_name).is_cloud:
            return False
        if self._request.response_format is not None:
            capabilities = upstream.facts.known_capabilities(self._exact_name)
            if capabilities is None or "thinking" in capabilities:
                return False
        last_known = upstream.contexts.last_known(self._exact_name, self._num_ctx)
        return tokens_at_most(self._request.content) >= (last_known or self._num_ctx or LEAST_DEFAULT_CONTEXT)


def tokens_at_most(content: Mapping[str, Any]) -> int:
    """Return how many tokens a prompt may have; far more than it has, so that none that is cut goes unnoticed."""
    messages = content.get("messages", ())
    characters = len(content.get("prompt", "")) + len(content.get("system", ""))
    images = len(content.get("images", ()))
    if tools := content.get("tools"):
        characters += _json_length(tools)
    for message in messages:
        characters += len(message.get("content") or "") + len(message.get("thinking") or "")
        images += len(message.get("images", ()))
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
    except orjson.JSONEncodeError:  # nested too deeply, for which the client refuses it
        return 0

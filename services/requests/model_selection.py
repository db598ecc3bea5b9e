"""Model selection: the requested model, or the default model as its fallback."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from config import Settings
from services.completion import CompletionRequest, ResolvedModel
from services.ollama.errors import MissingCapabilityError, ModelNotFoundError, NotFoundError, OllamaResponseError
from services.ollama.types.model_names import ModelName, short_name
from services.requests.capabilities import check_capabilities, needs_of
from services.upstream import Upstream

logger = logging.getLogger(__name__)

T = TypeVar("T")


class ModelSelection:
    """Chooses the model for a completion; a fallback to the default model is always reported."""

    def __init__(self, upstream: Upstream, settings: Settings) -> None:
        self._upstream = upstream
        self._settings = settings
        self._default_model = settings.default_model

    async def choose(self, request: CompletionRequest) -> tuple[ResolvedModel, str]:
        """Return the resolved model, and its exact name for Ollama.

        Raises:
            ModelNotFoundError: if the model is not installed and there is no fallback.
            InvalidRequestError: if it is not a valid model name.
            MissingCapabilityError: if the model lacks a required capability.
        """
        requested = request.model or self._default_model
        exact = await self._upstream.exact_name(requested)
        if exact is not None:
            await check_capabilities(self._upstream, self._settings, exact, needs_of(request.content))
            return ResolvedModel(short_name(exact), requested, fallback=False), exact
        return await self._fall_back(request, "is not installed")

    async def _fall_back(self, request: CompletionRequest, why: str) -> tuple[ResolvedModel, str]:
        requested, default = request.model or self._default_model, self._default_model
        if not request.allow_fallback or ModelName.parse(requested) == ModelName.parse(default):
            raise self._upstream.unknown(requested)
        exact = await self._upstream.exact_name(default)
        if exact is None:
            raise self._upstream.unknown(requested)
        needs = needs_of(request.content)
        await check_capabilities(self._upstream, self._settings, exact, needs, in_place_of=requested)
        logger.warning("model %s %s; %s responds instead", requested, why, exact)
        return ResolvedModel(short_name(exact), requested, fallback=True), exact

    async def run(
        self,
        request: CompletionRequest,
        target: tuple[ResolvedModel, str],
        attempt: Callable[[ResolvedModel, str], Awaitable[T]],
    ) -> T:
        """Attempt the chosen model, then the default model if the first was removed or cannot be loaded.

        Raises:
            OllamaError: the error of the last attempt.
        """
        resolved, exact = target
        try:
            with self._upstream.breaker.attempt():
                return await attempt(resolved, exact)
        except NotFoundError as error:
            self._upstream.catalog.invalidate()
            if resolved.fallback:
                raise self._upstream.unknown(resolved.requested_model) from error
            target = await self._fall_back(request, "was removed")
        except OllamaResponseError as error:
            if resolved.fallback or not request.allow_fallback or not await self._upstream.failed_to_load(exact, error):
                raise
            try:
                target = await self._fall_back(request, f"could not be loaded ({error.detail})")
            except (MissingCapabilityError, ModelNotFoundError):
                raise error from None
        try:
            with self._upstream.breaker.attempt():
                return await attempt(*target)
        except NotFoundError as error:
            raise self._upstream.unknown(resolved.requested_model) from error

"""What a caller wants done with Ollama, and the one instance that does it."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from copy import deepcopy
from typing import Any, Literal, TypeVar, overload

from config import Settings, get_settings
from services.completion import CompletionStream
from services.model_catalog import ModelList
from services.ollama.client import OllamaClient
from services.ollama.embeddings import Embeddings, fetch_vectors
from services.ollama.errors import (
    InvalidRequestError,
    ModelNotFoundError,
    NotFoundError,
    OllamaError,
    OllamaResponseError,
)
from services.ollama.events import Completion, CompletionRequest, ResolvedModel, Token
from services.ollama.types.grammar_harm import Harm, find_harm
from services.ollama.types.json_schema import JsonSchema, resolver
from services.ollama.types.model_names import ModelName, short_name
from services.outcomes import Outcomes
from services.per_loop import PerLoop
from services.upstream import Health, Upstream

logger = logging.getLogger(__name__)

T = TypeVar("T")


class OllamaService:
    """Talks to one Ollama server; made without any I/O, usable from any event loop.

    The methods of the in-process API give plain text and lists. Beside them `complete`, `stream` and `embed` say which
    model answered, what it cost and what to look out for.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._given_settings = settings
        self._upstreams = PerLoop(self._open)

    @property
    def settings(self) -> Settings:
        """The settings it was made with, else those of the process."""
        return self._given_settings or get_settings()

    async def connect(self) -> None:
        """Open the connection pools of this event loop; every method does so by itself."""
        await self._upstreams.get()

    async def disconnect(self) -> None:
        """Close the connection pools of this event loop."""
        await self._upstreams.close()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Upstream]:
        async with OllamaClient(self.settings) as transport:
            upstream = Upstream(self.settings, transport)
            try:
                yield upstream
            finally:
                await upstream.close()

    # In process

    async def health_check(self) -> bool:
        """Tell whether Ollama answers; never raises an error of Ollama's."""
        try:
            await self.health()
        except OllamaError:
            return False
        return True

    async def list_models(self, force_refresh: bool = False) -> list[dict[str, Any]]:
        """Return the installed models, as `GET /models` shows them.

        Raises:
            OllamaError: if there is no list to be had.
        """
        return deepcopy((await self.models(force_refresh=force_refresh)).models)

    async def is_model_available(self, name: str) -> bool:
        """Tell whether a model is installed; names are compared as Ollama does.

        Raises:
            OllamaError: if the list could not be read.
        """
        upstream = await self._upstreams.get()
        try:
            return await upstream.catalog.find(name) is not None
        except ValueError:
            return False

    @overload
    async def generate(
        self,
        model: str | None,
        prompt: str,
        system: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        stream: Literal[False] = False,
    ) -> str: ...

    @overload
    async def generate(
        self,
        model: str | None,
        prompt: str,
        system: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        *,
        stream: Literal[True],
    ) -> AsyncGenerator[str]: ...

    async def generate(
        self,
        model: str | None,
        prompt: str,
        system: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        stream: bool = False,
    ) -> str | AsyncGenerator[str]:
        """Return the answer to a prompt, whole or as pieces of text.

        A stream does nothing until it is iterated; close it early with `contextlib.aclosing`.

        Raises:
            OllamaError: when it fails, for a stream while it is iterated.
        """
        content: dict[str, Any] = {"prompt": prompt} | ({"system": system} if system is not None else {})
        options = _named(temperature=temperature, num_predict=max_tokens)
        request = CompletionRequest(path="/api/generate", model=model, content=content, options=options)
        return self._texts(request) if stream else (await self.complete(request)).text

    @overload
    async def chat(
        self,
        model: str | None,
        messages: Sequence[dict[str, Any]],
        temperature: float | None = None,
        stream: Literal[False] = False,
    ) -> str: ...

    @overload
    async def chat(
        self,
        model: str | None,
        messages: Sequence[dict[str, Any]],
        temperature: float | None = None,
        *,
        stream: Literal[True],
    ) -> AsyncGenerator[str]: ...

    async def chat(
        self,
        model: str | None,
        messages: Sequence[dict[str, Any]],
        temperature: float | None = None,
        stream: bool = False,
    ) -> str | AsyncGenerator[str]:
        """Return the answer to a conversation, whole or as pieces of text; see `generate`."""
        content = {"messages": list(messages)}
        options = _named(temperature=temperature)
        request = CompletionRequest(path="/api/chat", model=model, content=content, options=options)
        return self._texts(request) if stream else (await self.complete(request)).text

    async def generate_embeddings(self, text: str, model: str | None = None) -> list[float]:
        """Return the vector of a text, of unit length.

        Raises:
            OllamaError: when it fails; an unknown model is never replaced by another.
        """
        return (await self.embed([text], model=model)).vectors[0]

    async def _texts(self, request: CompletionRequest) -> AsyncGenerator[str]:
        async with self.stream(request) as stream:
            async for events in stream:
                for event in events:
                    if isinstance(event, Token):
                        yield event.text

    # The fuller forms

    async def health(self) -> Health:
        """Probe Ollama; concurrent callers share one call, and no model is loaded.

        Raises:
            OllamaError: if it does not answer within OLLAMA_HEALTH_TIMEOUT.
        """
        return await (await self._upstreams.get()).health()

    async def queue_stats(self) -> tuple[int, int]:
        """Return how many requests run in Ollama and how many wait for a place."""
        limiter = (await self._upstreams.get()).limiter
        return limiter.running, limiter.queued

    async def outcomes(self) -> Outcomes:
        """Return when generation requests of this event loop last succeeded and failed."""
        return (await self._upstreams.get()).outcomes

    async def configured_models(self) -> dict[str, bool | None]:
        """Tell for each configured model whether it is installed, or None where there is no list to tell from."""
        upstream = await self._upstreams.get()
        settings = self.settings
        names = (settings.default_model, settings.quality_model, settings.embedding_model)
        try:
            await upstream.catalog.list()
        except OllamaError:
            return dict.fromkeys(names)
        return {name: upstream.catalog.knows(name) for name in names}

    async def models(self, *, force_refresh: bool = False) -> ModelList:
        """Return the installed models with the age of that knowledge.

        Raises:
            OllamaError: if there is no list to be had.
        """
        upstream = await self._upstreams.get()
        return await upstream.catalog.list(force_refresh=force_refresh)

    async def complete(self, request: CompletionRequest) -> Completion:
        """Return a whole answer.

        Raises:
            OllamaError: when there is none.
        """
        upstream = await self._upstreams.get()

        async def attempt(served: ResolvedModel, model: str) -> Completion:
            answer = await upstream.client.post(request.path, self._body(request, model, stream=False))
            return Completion.read(answer, request, served)

        self._check_num_ctx(request)
        upstream.breaker.check()
        target = await self._choose(upstream, request)
        self._check_format(upstream, request)
        async with upstream.limiter.slot():
            try:
                completion = await self._with_fallback(upstream, request, target, attempt)
            except OllamaError as error:
                upstream.outcomes.failed(error)
                raise
        upstream.outcomes.succeeded()
        return completion

    @asynccontextmanager
    async def stream(
        self, request: CompletionRequest, chosen: Callable[[ResolvedModel], None] = lambda _: None
    ) -> AsyncIterator[CompletionStream]:
        """Open an answer that comes in pieces; leaving stops the model if it is still at work.

        `chosen` is told which model is to answer, before it has begun.

        Raises:
            OllamaError: if it fails before its first chunk.
        """
        upstream = await self._upstreams.get()

        async def attempt(served: ResolvedModel, model: str) -> CompletionStream:
            chosen(served)
            opening = upstream.client.stream(request.path, self._body(request, model, stream=True))
            return CompletionStream(served, await stack.enter_async_context(opening), request)

        self._check_num_ctx(request)
        upstream.breaker.check()
        target = await self._choose(upstream, request)
        self._check_format(upstream, request)
        chosen(target[0])
        async with upstream.limiter.slot(), AsyncExitStack() as stack:
            stream = None
            try:
                stream = await self._with_fallback(upstream, request, target, attempt)
                yield stream
            except OllamaError as error:
                upstream.outcomes.failed(error)
                raise
            finally:
                if stream is not None and stream.is_done:
                    upstream.outcomes.succeeded()

    async def embed(
        self,
        texts: list[str],
        *,
        model: str | None = None,
        dimensions: int | None = None,
        truncate: bool = True,
        keep_alive: float | str | None = None,
    ) -> Embeddings:
        """Return a vector of unit length for each text.

        `dimensions` cuts the vectors. See https://docs.ollama.com/api/embed.

        Raises:
            OllamaError: when it fails; an unknown model is never replaced by another.
        """
        upstream = await self._upstreams.get()
        requested = model or self.settings.embedding_model
        upstream.breaker.check()
        exact = await upstream.exact_name(requested)
        if exact is None:
            raise upstream.unknown(requested)
        body = self._with_constants({"model": exact, "options": {}}, keep_alive)
        async with upstream.limiter.slot():
            with upstream.breaker.attempt():
                try:
                    vectors, tokens = await fetch_vectors(
                        upstream.client, body, texts, dimensions=dimensions, truncate=truncate
                    )
                except NotFoundError as error:
                    upstream.catalog.invalidate()
                    raise upstream.unknown(requested) from error
                except OllamaError as error:
                    upstream.outcomes.failed(error)
                    raise
        upstream.outcomes.succeeded()
        return Embeddings(vectors, short_name(exact), tokens)

    # Choosing the model

    async def _choose(self, upstream: Upstream, request: CompletionRequest) -> tuple[ResolvedModel, str]:
        """Return who is to answer, with the exact name for Ollama.

        Raises:
            ModelNotFoundError: if the model is not installed and the default may not or can not answer for it.
        """
        requested = request.model or self.settings.default_model
        exact = await upstream.exact_name(requested)
        if exact is not None:
            return ResolvedModel(short_name(exact), requested, fallback=False), exact
        return await self._fall_back(upstream, request, "is not installed")

    async def _fall_back(self, upstream: Upstream, request: CompletionRequest, why: str) -> tuple[ResolvedModel, str]:
        requested, default = request.model or self.settings.default_model, self.settings.default_model
        if not request.allow_fallback or ModelName.parse(requested) == ModelName.parse(default):
            raise upstream.unknown(requested)
        exact = await upstream.exact_name(default)
        if exact is None:
            raise upstream.unknown(requested)
        logger.warning("model %s %s; %s answers", requested, why, exact)
        return ResolvedModel(short_name(exact), requested, fallback=True), exact

    async def _with_fallback(
        self,
        upstream: Upstream,
        request: CompletionRequest,
        target: tuple[ResolvedModel, str],
        attempt: Callable[[ResolvedModel, str], Awaitable[T]],
    ) -> T:
        """Make the attempt, and a second one with the default model if the first has no model to run."""
        served, exact = target
        try:
            with upstream.breaker.attempt():
                return await attempt(served, exact)
        except NotFoundError as error:
            upstream.catalog.invalidate()
            if served.fallback:
                raise upstream.unknown(served.requested_model) from error
            target = await self._fall_back(upstream, request, "is gone")
        except OllamaResponseError as error:
            if served.fallback or not request.allow_fallback or not await upstream.failed_to_load(exact, error):
                raise
            try:
                target = await self._fall_back(upstream, request, f"could not be loaded ({error.detail})")
            except ModelNotFoundError:
                raise error from None
        try:
            with upstream.breaker.attempt():
                return await attempt(*target)
        except NotFoundError as error:
            raise upstream.unknown(served.requested_model) from error

    # Bodies

    def _check_num_ctx(self, request: CompletionRequest) -> None:
        num_ctx = self.settings.ollama_num_ctx
        if num_ctx is not None and request.options.get("num_ctx", num_ctx) != num_ctx:
            detail = f"num_ctx is {num_ctx} for all requests (OLLAMA_NUM_CTX): changing it reloads the model."
            raise InvalidRequestError(detail, field="options.num_ctx")

    @staticmethod
    def _check_format(upstream: Upstream, request: CompletionRequest) -> None:
        """Refuse a schema that would end or hang this Ollama; where its version is not known, one that may."""
        if not isinstance(request.response_format, dict):
            return
        try:
            request.response_format = schema = JsonSchema.of(request.response_format)
        except ValueError as error:
            raise InvalidRequestError(f"not a usable JSON schema: {error}", field="format") from error
        found = find_harm(schema, resolver(schema))
        if found is None:
            return
        tolerated = {True: Harm.ENDS_SERVER_BEFORE_0_30, False: None, None: Harm.ENDS_RUNNER_BEFORE_0_30}
        worst_tolerated = tolerated[upstream.runs_llama_server]
        if worst_tolerated is None or found.harm > worst_tolerated:
            raise InvalidRequestError(f"This Ollama cannot take {found}.", field="format")

    def _body(self, request: CompletionRequest, model: str, *, stream: bool) -> dict[str, Any]:
        settings = self.settings
        options = {
            "num_predict": settings.max_tokens,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "frequency_penalty": settings.frequency_penalty,
            "presence_penalty": settings.presence_penalty,
        }
        body = {"model": model, "stream": stream, **request.content, "options": options | request.options}
        if request.response_format is not None:
            body["format"] = request.response_format
        return self._with_constants(body, request.keep_alive)

    def _with_constants(self, body: dict[str, Any], keep_alive: float | str | None) -> dict[str, Any]:
        """Add what is sent with every request when set."""
        num_ctx = self.settings.ollama_num_ctx
        if num_ctx is not None:
            body["options"]["num_ctx"] = num_ctx
        keep_alive = self.settings.ollama_keep_alive if keep_alive is None else keep_alive
        return body if keep_alive is None else body | {"keep_alive": keep_alive}


def _named(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


ollama_service = OllamaService()

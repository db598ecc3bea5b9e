"""High-level Ollama API and its singleton.

Over 300 lines, as the overloads repeat the signatures that the in-process API promises.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from copy import deepcopy
from typing import Any, Literal, overload

from config import Settings, get_settings
from services.completion import Completion, CompletionRequest, CompletionStream, ResolvedModel
from services.model_details import ModelDetails, model_details
from services.models.model_catalog import ModelList
from services.ollama.client import OllamaClient
from services.ollama.embeddings import Embeddings
from services.ollama.errors import OllamaError
from services.ollama.events import Token
from services.ollama.raw_response import RawResponse
from services.ollama.types.embedding_prefixes import InputType
from services.operation import OnOperation, Operation, count_attempt
from services.per_loop import PerLoop
from services.requests.completions import complete, stream
from services.requests.embedding import EmbeddingRequest, embed
from services.requests.relay import relay
from services.serving_server import note_server
from services.stuck_models.healing import StuckReport
from services.upstream import Health, Outcomes, ServiceStats, Upstream, client_options


class OllamaService:
    """High-level API of one Ollama server; constructed without I/O, usable from any event loop.

    `generate`, `chat` and `generate_embeddings` return plain text and lists. `complete`, `stream` and `embed` also
    return the model that responded, token counts, timings and warnings.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._given_settings = settings
        self._upstreams = PerLoop(self._open)
        self.observers: Sequence[OnOperation] = ()
        """Called with each generation, chat and embedding when it has ended, also if it failed."""

    @property
    def settings(self) -> Settings:
        """The settings passed to the constructor, else those of the process."""
        return self._given_settings or get_settings()

    async def connect(self) -> None:
        """Open the connection pools of this event loop; optional, as every method does so when needed."""
        await self._upstreams.get()

    async def disconnect(self) -> None:
        """Close the connection pools of this event loop."""
        await self._upstreams.close()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Upstream]:
        options = client_options(self.settings)
        async with OllamaClient(options, on_attempt=count_attempt, on_server=note_server) as client:
            upstream = Upstream(self.settings, client, self._operation_ended)
            try:
                yield upstream
            finally:
                await upstream.close()

    def _operation_ended(self, operation: Operation) -> None:
        for observe in self.observers:
            observe(operation)

    # In-process API: plain values

    async def health_check(self) -> bool:
        """Return whether Ollama responds; never raises `OllamaError`."""
        try:
            await self.health()
        except OllamaError:
            return False
        return True

    async def list_models(self, force_refresh: bool = False) -> list[dict[str, Any]]:
        """Return the installed models, as in the response of `GET /api/ollama/models`.

        Raises:
            OllamaError: if the list cannot be read and none is cached.
        """
        return deepcopy((await self.models(force_refresh=force_refresh)).models)

    async def is_model_available(self, name: str) -> bool:
        """Return whether a model is installed; names are compared as Ollama compares them.

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
        """Return the response to a prompt: a string, or with `stream=True` an async generator of strings.

        A stream sends nothing until it is iterated; wrap it in `contextlib.aclosing` to stop early.

        Raises:
            OllamaError: if it fails; for a stream, during iteration.
        """
        content: dict[str, Any] = {"prompt": prompt} | ({"system": system} if system is not None else {})
        options = _without_none(temperature=temperature, num_predict=max_tokens)
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
        """Return the response to a conversation: a string, or an async generator of strings; see `generate`."""
        content = {"messages": list(messages)}
        options = _without_none(temperature=temperature)
        request = CompletionRequest(path="/api/chat", model=model, content=content, options=options)
        return self._texts(request) if stream else (await self.complete(request)).text

    async def generate_embeddings(
        self, text: str, model: str | None = None, input_type: InputType | None = None
    ) -> list[float]:
        """Return the vector of a text, of unit length; `input_type` is its role, see `embed`.

        Raises:
            OllamaError: if it fails; there is no fallback to another model.
        """
        return (await self.embed([text], model=model, input_type=input_type)).vectors[0]

    async def _texts(self, request: CompletionRequest) -> AsyncGenerator[str]:
        async with self.stream(request) as stream:
            async for events in stream:
                for event in events:
                    if isinstance(event, Token):
                        yield event.text

    # Full API: responses with their metadata

    async def health(self) -> Health:
        """Probe Ollama without loading a model; concurrent callers share one call.

        Raises:
            OllamaError: if it does not respond within OLLAMA_HEALTH_TIMEOUT.
        """
        return await (await self._upstreams.get()).health()

    async def queue_stats(self) -> tuple[int, int]:
        """Return how many requests are running in Ollama and how many are queued."""
        limiter = (await self._upstreams.get()).limiter
        return limiter.running, limiter.queued

    def stats(self) -> ServiceStats:
        """Return the state of the service, of all event loops together; asks nobody."""
        upstreams = self._upstreams.opened()
        limiters = [upstream.limiter for upstream in upstreams]
        ages = [upstream.catalog.age_seconds for upstream in upstreams]
        successes = [upstream.outcomes.last_success for upstream in upstreams]
        return ServiceStats(
            running=sum(limiter.running for limiter in limiters),
            queued=sum(limiter.queued for limiter in limiters),
            slots=sum(limiter.slots for limiter in limiters),
            queue_size=sum(limiter.queue_size for limiter in limiters),
            is_reachable=all(upstream.is_reachable for upstream in upstreams),
            is_circuit_open=any(upstream.breaker.is_open for upstream in upstreams),
            models=max((len(upstream.catalog.names) for upstream in upstreams), default=0),
            model_list_age=max((age for age in ages if age is not None), default=None),
            stuck_models=sum(upstream.stuck_models.healing.stuck for upstream in upstreams),
            model_reloads=sum(upstream.stuck_models.healing.counts["reloaded"] for upstream in upstreams),
            last_success=max((at for at in successes if at is not None), default=None),
        )

    async def outcomes(self) -> Outcomes:
        """Return when generation requests of this event loop last succeeded and failed."""
        return (await self._upstreams.get()).outcomes

    async def stuck_models(self) -> list[StuckReport]:
        """Return the models that requests of this event loop found stuck, and what was done."""
        return list((await self._upstreams.get()).stuck_models.healing.reports.values())

    async def configured_models(self) -> dict[str, bool | None]:
        """Return whether each configured model is installed; None if the model list cannot be read."""
        upstream = await self._upstreams.get()
        settings = self.settings
        names = (settings.default_model, settings.quality_model, settings.embedding_model)
        try:
            await upstream.catalog.list()
        except OllamaError:
            return dict.fromkeys(names)
        return {name: upstream.catalog.knows(name) for name in names}

    async def models(self, *, force_refresh: bool = False) -> ModelList:
        """Return the installed models with the age of the list.

        Raises:
            OllamaError: if the list cannot be read and none is cached.
        """
        upstream = await self._upstreams.get()
        return await upstream.catalog.list(force_refresh=force_refresh)

    async def model_details(self, name: str) -> ModelDetails:
        """Return what Ollama tells about one model; it is not loaded for that.

        Raises:
            ModelNotFoundError: if it is not installed.
            OllamaError: if Ollama cannot be asked.
        """
        return await model_details(await self._upstreams.get(), self.settings, name)

    async def complete(self, request: CompletionRequest) -> Completion:
        """Return a complete (non-streamed) response.

        Raises:
            OllamaError: if it fails.
        """
        return await complete(await self._upstreams.get(), self.settings, request)

    @asynccontextmanager
    async def stream(
        self, request: CompletionRequest, chosen: Callable[[ResolvedModel], None] = lambda _: None
    ) -> AsyncIterator[CompletionStream]:
        """Open a streamed response; leaving the context stops the model if it is still generating.

        `chosen` is called with the resolved model before the model has started to respond.

        Raises:
            OllamaError: if it fails before its first chunk.
        """
        async with stream(await self._upstreams.get(), self.settings, request, chosen) as opened:
            yield opened

    async def relay(self, path: str, data: bytes, model: str | None = None) -> AbstractAsyncContextManager[RawResponse]:
        """Relay a request of Ollama's own API unchanged; entering the context waits for a slot and the response.

        `model` is what UPSTREAM_MODEL_HEADER names.

        Raises:
            OllamaError: on entering, if there is no response.
        """
        return relay(await self._upstreams.get(), self.settings, path, data, model)

    async def relay_control(self, method: str, path: str, data: bytes = b"", model: str | None = None) -> RawResponse:
        """Relay a request of Ollama's own API that runs no model, bypassing the queue; return the complete response.

        Raises:
            OllamaError: if there is none within OLLAMA_HEALTH_TIMEOUT.
        """
        upstream = await self._upstreams.get()
        async with await upstream.client.relay_control(method, path, data, model) as response:
            upstream.breaker.succeeded()
            return response

    async def embed(
        self,
        texts: list[str],
        *,
        model: str | None = None,
        input_type: InputType | None = None,
        dimensions: int | None = None,
        truncate: bool = True,
        keep_alive: float | str | None = None,
    ) -> Embeddings:
        """Return a vector of unit length for each text.

        `input_type` is the role of the texts: they get the prefix that the model was trained with. `dimensions`
        truncates the vectors. See https://docs.ollama.com/api/embed.

        Raises:
            OllamaError: if it fails; there is no fallback to another model.
        """
        request = EmbeddingRequest(
            texts=texts,
            model=model,
            input_type=input_type,
            dimensions=dimensions,
            truncate=truncate,
            keep_alive=keep_alive,
        )
        return await embed(await self._upstreams.get(), self.settings, request)


def _without_none(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


ollama_service = OllamaService()

"""Requests in flight to Ollama, with what is needed to tell whether their model is stuck."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import orjson

from services.ollama.errors import (
    DrainTimeoutError,
    ModelStuckError,
    OllamaConnectTimeoutError,
    OllamaError,
    OllamaTimeoutError,
)
from services.ollama.types.model_names import ModelName

T = TypeVar("T")

BYTES_PER_TOKEN = 3
TOKENS_PER_IMAGE = 1000
GENERATION_PATHS = ("/api/generate", "/api/chat")


class Observer(Protocol):
    """Receives the events of requests in flight."""

    @property
    def is_idle(self) -> bool:
        """Whether `admit` would return at once."""

    async def admit(self, request: "InFlightRequest") -> None:
        """Wait until the request may be sent; raise ModelStuckError if it may not."""

    def answered(self, request: "InFlightRequest") -> None:
        """Record that the first chunk, or the complete response, has arrived."""

    def ended(self, request: "InFlightRequest", *, abandoned: bool) -> None:
        """Record the end of a request; an abandoned one was cut off by the service."""


class InFlightRequest:
    """A request, from before it is sent until its response has ended; the context manager records the end.

    The body is parsed, and its tokens are counted, only if some model may be stuck.

    Args:
        observer: Receives the events.
        path: Ollama's endpoint.
        model: The exact name, or None to read it from the body.
        body: Ollama's fields, or the JSON that has them.
        is_whole: Whether nothing arrives before the complete generated response.
    """

    __slots__ = (
        "_body",
        "_has_ended",
        "_is_done",
        "_model",
        "_name",
        "_observer",
        "_path",
        "_task",
        "_tokens",
        "_verdict",
        "has_begun",
        "is_reloaded",
        "is_waiting",
        "is_whole",
        "look_again_at",
        "sent_at",
    )

    def __init__(
        self, observer: Observer, path: str, model: str | None, body: dict[str, Any] | bytes, *, is_whole: bool
    ) -> None:
        self._observer = observer
        self._path = path
        self._model = model
        self._body = body
        self._name: ModelName | None = None
        self._tokens: float | None = None
        self._task: asyncio.Task[Any] | None = None
        self._verdict: asyncio.Future[ModelStuckError | None] | None = None
        self._has_ended = False
        self._is_done = False
        self.is_whole = is_whole
        self.sent_at = 0.0
        self.look_again_at = 0.0
        self.is_waiting = False
        self.has_begun = False
        self.is_reloaded = False

    @property
    def name(self) -> ModelName | None:
        """The model, or None if the request does not name one."""
        if self._name is None:
            model = self._model if self._model is not None else fields_of(self._body).get("model")
            try:
                self._name = ModelName.parse(model) if isinstance(model, str) else None
            except ValueError:
                return None
        return self._name

    @property
    def prompt_tokens(self) -> float:
        """An estimate of the tokens in its prompt, or in the texts to embed."""
        if self._tokens is None:
            self._tokens = _count_tokens(fields_of(self._body))
        return self._tokens

    @property
    def is_stream(self) -> bool:
        """Whether its response is generated and streamed."""
        return not self.is_whole and self._path in GENERATION_PATHS

    @property
    def is_at_work(self) -> bool:
        """Whether the model is processing it, or may be."""
        return self.has_begun or (self.is_waiting and self.is_whole)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end(error)

    async def open(self, send: Callable[[], Awaitable[T]]) -> T:
        """Send the request and return its response, or the beginning of a streamed one.

        If the model is found stuck before the response begins, the request is sent again after the model was unloaded.

        Raises:
            ModelStuckError: if the model may not be unloaded now, or that fails.
        """
        try:
            response = await self._send(send)
        except BaseException as error:
            self._end(error)
            raise
        self.has_begun = True
        self._observer.answered(self)
        return response

    async def _send(self, send: Callable[[], Awaitable[T]]) -> T:
        # as asyncio.timeout does it, which costs as much as all the rest of the watch
        self._task = task = asyncio.current_task()
        assert task is not None  # noqa: S101 - coroutines run in tasks
        cancelling = task.cancelling()
        while True:
            if not self._observer.is_idle:
                await self._observer.admit(self)
            self.sent_at = time.monotonic()
            self.is_waiting = True
            try:
                return await send()
            except asyncio.CancelledError:
                if self._verdict is None or task.uncancel() > cancelling:
                    raise
            finally:
                self.is_waiting = False
            verdict, self._verdict = self._verdict, None
            if (refusal := await asyncio.shield(verdict)) is not None:
                raise refusal
            self.is_reloaded = True

    def interrupt(self, verdict: "asyncio.Future[ModelStuckError | None]") -> None:
        """Withdraw a waiting request; the verdict tells whether to send it again (None), or the error to raise."""
        if self.is_waiting and self._verdict is None and self._task is not None:
            self._verdict = verdict
            self._task.cancel()

    def finish(self) -> None:
        """Record that the response is complete."""
        self._is_done = True

    def _end(self, error: BaseException | None) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        if self._is_done:
            self._observer.answered(self)
        self._observer.ended(self, abandoned=bool(self.sent_at) and not self._is_done and _is_cut_off(error))


def fields_of(body: dict[str, Any] | bytes) -> dict[str, Any]:
    """Return the fields of a request with lower-case names, as Ollama ignores the case; empty if it has none."""
    if isinstance(body, bytes):
        try:
            body = orjson.loads(body)
        except orjson.JSONDecodeError:
            return {}
    return {key.casefold(): value for key, value in body.items()} if isinstance(body, dict) else {}


def _is_cut_off(error: BaseException | None) -> bool:
    """Return whether the service closed the connection, given what ended the request before it was complete."""
    is_timeout = isinstance(error, OllamaTimeoutError | DrainTimeoutError)
    return not isinstance(error, OllamaError) or (is_timeout and not isinstance(error, OllamaConnectTimeoutError))


def _count_tokens(value: object) -> float:
    """Estimate the tokens of all texts and images in a body; iterative, as bodies may be nested deeply."""
    tokens, rest = 0.0, [value]
    while rest:
        part = rest.pop()
        if isinstance(part, str):
            tokens += len(part.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN
        elif isinstance(part, list):
            rest += part
        elif isinstance(part, dict):
            images = part.get("images")
            tokens += TOKENS_PER_IMAGE * len(images) if isinstance(images, list) else 0
            rest += [item for key, item in part.items() if key != "images"]
    return tokens

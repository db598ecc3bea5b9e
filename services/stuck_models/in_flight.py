"""A request in Ollama: which model it waits for, whether that has begun to answer, and how it ended."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import cached_property
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
from services.ollama.timeouts import Timeout
from services.ollama.types.model_names import ModelName

T = TypeVar("T")

BYTES_PER_TOKEN = 3
TOKENS_PER_IMAGE = 1000
GENERATION_PATHS = ("/api/generate", "/api/chat")


class _InterruptedError(OllamaError):
    """Raised in a waiting request to take it back from Ollama."""


class Observer(Protocol):
    """Who is told how requests in flight fare."""

    async def admit(self, request: "InFlightRequest") -> None:
        """Wait until the request may be sent; raise ModelStuckError if it may not."""

    def answered(self, request: "InFlightRequest") -> None:
        """Note that Ollama has begun to answer, or is done."""

    def ended(self, request: "InFlightRequest", *, abandoned: bool) -> None:
        """Note the end of a request; an abandoned one was cut off by us."""


class InFlightRequest:
    """A request from when it is sent until its response has ended; as a context manager it notes that end.

    What costs time (reading a relayed body, counting tokens) is done only when it is asked for.

    Args:
        observer: Is told how it fares.
        path: Where it is sent.
        model: The exact name, or None to read it from the body.
        body: Ollama's fields, or the bytes that hold them.
        is_whole: Whether nothing arrives before the whole answer; None to read it from the body.
    """

    def __init__(
        self, observer: Observer, path: str, model: str | None, body: dict[str, Any] | bytes, *, is_whole: bool | None
    ) -> None:
        self._observer = observer
        self._path = path
        self._model = model
        self._given = body
        self._is_whole = is_whole
        self._interruption: Timeout | None = None
        self._verdict: asyncio.Future[ModelStuckError | None] | None = None
        self._has_ended = False
        self.sent_at = 0.0
        self.look_again_at = 0.0
        self.is_waiting = False
        self.has_begun = False
        self.is_reloaded = False
        self._is_done = False

    @cached_property
    def _body(self) -> dict[str, Any]:
        body = self._given
        if isinstance(body, bytes):
            try:
                body = orjson.loads(body)
            except orjson.JSONDecodeError:
                body = {}
        # Ollama reads the names of fields in any case
        return {key.casefold(): value for key, value in body.items()} if isinstance(body, dict) else {}

    @cached_property
    def name(self) -> ModelName | None:
        """The model, or None if the request names none."""
        model = self._model if self._model is not None else self._body.get("model")
        try:
            return ModelName.parse(model) if isinstance(model, str) else None
        except ValueError:
            return None

    @cached_property
    def is_whole(self) -> bool:
        """Whether it generates an answer that comes whole, so that its beginning cannot be seen."""
        if self._is_whole is not None:
            return self._is_whole
        return self._path in GENERATION_PATHS and self._body.get("stream") is False

    @cached_property
    def prompt_tokens(self) -> float:
        """An estimate of the tokens of its prompt, or of the texts to embed."""
        return _tokens(self._body)

    def may_stream(self, name: ModelName) -> bool:
        """Whether it may be a stream of this model's; a relayed one may be of any."""
        return not self._is_whole and self._path in GENERATION_PATHS and (self._model is None or self.name == name)

    @property
    def is_at_work(self) -> bool:
        """Whether the model has begun with it, or may have."""
        return self.has_begun or (self.is_waiting and self.is_whole)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end(error)

    async def open(self, send: Callable[[], Awaitable[T]]) -> T:
        """Send the request and return its response, or the beginning of a streamed one.

        If the model turns out to be stuck before it has begun, the request is sent again once the model is unloaded.

        Raises:
            ModelStuckError: if that does not help.
        """
        try:
            while True:
                await self._observer.admit(self)
                self.sent_at = time.monotonic()
                self._interruption = Timeout(None, _interrupted)
                self.is_waiting = True
                try:
                    async with self._interruption:
                        response = await send()
                    break
                except _InterruptedError:
                    self.is_waiting = False
                    if self._verdict is not None and (refusal := await asyncio.shield(self._verdict)) is not None:
                        raise refusal from None
                    self.is_reloaded = True
                finally:
                    self.is_waiting = False
        except BaseException as error:
            self._end(error)
            raise
        self.has_begun = True
        self._observer.answered(self)
        return response

    def interrupt(self, verdict: "asyncio.Future[ModelStuckError | None]") -> None:
        """Take a waiting request back; the verdict says whether it is sent again (None), or the error to raise."""
        if self._interruption is not None and self.is_waiting:
            self._verdict = verdict
            self._interruption.expire()

    def finish(self) -> None:
        """Note that the response came to its end."""
        self._is_done = True

    def _end(self, error: BaseException | None) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        cut_off_by_us = not isinstance(error, OllamaError) or (
            isinstance(error, OllamaTimeoutError | DrainTimeoutError)
            and not isinstance(error, OllamaConnectTimeoutError)
        )
        if self._is_done:
            self._observer.answered(self)
        self._observer.ended(self, abandoned=bool(self.sent_at) and not self._is_done and cut_off_by_us)


def _interrupted() -> OllamaError:
    return _InterruptedError("")


def _tokens(value: object) -> float:
    """Return about how many tokens the texts in a body are; iterative, as bodies may be nested deeply."""
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

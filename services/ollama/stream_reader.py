"""Reader of streamed responses: JSON objects out of bytes, with an idle timeout."""

import asyncio
from contextlib import suppress
from typing import Any, Protocol

import orjson

from services.ollama.error_mapping import error_in, invalid_response
from services.ollama.errors import OllamaError, OllamaResponseError
from services.ollama.ndjson import LineSplitter, LineTooLongError, without_context
from services.ollama.timeouts import IdleTimeout

END_OF_BODY_SECONDS = 0.25


class Body(Protocol):
    """The body of a response, as it comes."""

    async def read_some(self) -> bytes:
        """Return what has arrived, at least a byte; nothing at the end."""

    def fail(self, error: OllamaError) -> None:
        """Have whoever waits in `read_some` get an error."""

    def close(self) -> None:
        """Give up the rest; the connection is closed unless it is at its end."""


class StreamReader:
    """The JSON objects of one answer, in batches: what arrived together is read together."""

    def __init__(self, body: Body, idle_seconds: float) -> None:
        self._body = body
        self._silence = IdleTimeout(idle_seconds, body.fail)
        self._splitter = LineSplitter()
        self._first: list[dict[str, Any]] = []
        self._failure: OllamaError | None = None

    async def read_first(self) -> None:
        """Wait for the first chunks; `read` then gives them at once.

        Raises:
            OllamaError: as `read`, and if there is none.
        """
        self._first = await self._read()
        if not self._first:
            raise OllamaResponseError("Ollama's answer ended before it began.")

    async def read(self) -> list[dict[str, Any]]:
        """Return the next chunks, at least one; none at the end of the body.

        Raises:
            OllamaTimeoutError: after OLLAMA_STREAM_IDLE_TIMEOUT of silence.
            OllamaResponseError: an error line, garbage, or the connection broke.
        """
        if self._first:
            chunks, self._first = self._first, []
            return chunks
        self._silence.begin()
        try:
            return await self._read()
        finally:
            self._silence.end()

    async def read_to_end(self) -> None:
        """Read the end of the body after the last chunk, so that the connection can serve again."""
        with suppress(TimeoutError, OllamaError):
            async with asyncio.timeout(END_OF_BODY_SECONDS):
                while await self._body.read_some():
                    pass

    def close(self) -> None:
        """Give up the rest of the body; the connection is closed unless it is at its end."""
        self._silence.close()
        self._body.close()

    async def _read(self) -> list[dict[str, Any]]:
        if self._failure is not None:
            raise self._failure
        try:
            while data := await self._body.read_some():
                if lines := self._splitter.feed(data):
                    return self._parse(lines)
        except LineTooLongError as error:
            raise invalid_response() from error
        rest = self._splitter.rest()
        return self._parse([rest]) if rest else []

    def _parse(self, lines: list[bytes]) -> list[dict[str, Any]]:
        """Parse lines up to a bad one; what came before it is not lost."""
        chunks: list[dict[str, Any]] = []
        try:
            chunks.extend(map(_chunk, lines))
        except OllamaError as error:
            if not chunks:
                raise
            self._failure = error
        return chunks


def _chunk(line: bytes) -> dict[str, Any]:
    try:
        chunk = orjson.loads(without_context(line))
    except orjson.JSONDecodeError as error:
        raise invalid_response() from error
    if not isinstance(chunk, dict):
        raise invalid_response()
    if ("error" in chunk or "done" not in chunk) and (failure := error_in(chunk)) is not None:
        raise failure
    return chunk

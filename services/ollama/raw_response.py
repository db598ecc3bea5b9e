"""Unparsed responses, for relaying: status, media type and bytes."""

from functools import cached_property
from types import TracebackType
from typing import Self

from services.ollama.connection_pool import OK, Response
from services.ollama.error_mapping import invalid_response
from services.ollama.errors import OllamaError, OllamaResponseError
from services.ollama.gateway import error_for
from services.ollama.parsing.chunk_joining import join_chunks
from services.ollama.timeouts import IdleTimeout

STREAM_MEDIA_TYPE = "application/x-ndjson"
COMPLETE_MEDIA_TYPE = "application/json; charset=utf-8"
FAILED = 500
ERROR_LINE = b'{"error":'


class RawResponse:
    """An unparsed response; leaving `async with` closes the connection unless the body was read to its end.

    `body` is the complete body if `is_whole`, otherwise the latest part of a stream.
    """

    def __init__(self, response: Response, idle_seconds: float) -> None:
        self._response = response
        self._idle_timeout = IdleTimeout(idle_seconds, response.fail)
        self.status = response.status
        self.content_type = response.headers.get("Content-Type", "")
        self.body = b""
        self.is_whole = True

    @property
    def is_stream(self) -> bool:
        """Whether this is a stream of lines, even if it came in one piece."""
        return self.status == OK and self.content_type.startswith(STREAM_MEDIA_TYPE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def read_first(self) -> None:
        """Read the first part of a stream, or the complete body of another response.

        Raises:
            OllamaError: if the connection breaks, or the server switches to another protocol.
        """
        if self.status < OK:
            raise invalid_response()
        if self.is_stream:
            self.body = await self._response.read_some()
            self.is_whole = self._response.is_at_end
        else:
            self.body = await self._response.read()

    async def join(self) -> None:
        """Read a stream to its end, and turn it into the response that `"stream": false` gives.

        Raises:
            OllamaResponseError: if the connection breaks, or a chunk is invalid.
        """
        if not self.is_stream:
            return
        if not self.is_whole:
            self.body += await self._response.read()
        if self.failure is not None:
            del self.failure
            self.status, self.body = FAILED, self.body.splitlines()[-1]
        else:
            self.body = join_chunks(self.body)
        self.is_whole = True
        self.content_type = COMPLETE_MEDIA_TYPE

    async def read_some(self) -> bytes:
        """Return the next part of a stream; empty at its end.

        Raises:
            OllamaTimeoutError: after OLLAMA_STREAM_IDLE_TIMEOUT of silence.
            OllamaResponseError: if the connection breaks.
        """
        self._idle_timeout.begin()
        try:
            part = await self._response.read_some()
        finally:
            self._idle_timeout.end()
        self.body = part or self.body
        self.is_whole = self._response.is_at_end
        return part

    @cached_property
    def failure(self) -> OllamaError | None:
        """The failure reported by the status or, once the body was read to its end, by its last line."""
        if self.status != OK:
            return error_for(self.status, self.body, self._response.headers)
        if self.body[self.body.rfind(b"\n", 0, -1) + 1 :].startswith(ERROR_LINE):
            return OllamaResponseError("Ollama failed during its response.")
        return None

    def close(self) -> None:
        """Discard the rest of the body; the connection is closed unless the body is at its end."""
        self._idle_timeout.close()
        self._response.close()

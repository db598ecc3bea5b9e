"""Responses that are passed on as they come: status, media type and bytes, unparsed."""

from functools import cached_property
from types import TracebackType
from typing import Self

from services.ollama.connection_pool import OK, Response
from services.ollama.error_mapping import invalid_response
from services.ollama.errors import OllamaError, OllamaResponseError
from services.ollama.gateway import error_for
from services.ollama.timeouts import IdleTimeout

STREAM_MEDIA_TYPE = "application/x-ndjson"
ERROR_LINE = b'{"error":'


class RawResponse:
    """A response of Ollama's; `async with` closes its connection unless the body was read to its end.

    `body` is all of it if `is_whole`, else the beginning of a stream, which `read_some` continues.
    """

    def __init__(self, response: Response, idle_seconds: float) -> None:
        self._response = response
        self._silence = IdleTimeout(idle_seconds, response.fail)
        self.status = response.status
        self.content_type = response.headers.get("Content-Type", "")
        self.body = b""
        self.is_whole = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def read_first(self) -> None:
        """Read the first piece of a stream, or the whole of anything else.

        Raises:
            OllamaError: if the connection breaks, or becomes something else than HTTP.
        """
        if self.status < OK:
            raise invalid_response()
        if self.status == OK and self.content_type.startswith(STREAM_MEDIA_TYPE):
            self.body = await self._response.read_some()
            self.is_whole = self._response.is_at_end
        else:
            self.body = await self._response.read()

    async def read_some(self) -> bytes:
        """Return the next piece of a stream; nothing at its end.

        Raises:
            OllamaTimeoutError: after OLLAMA_STREAM_IDLE_TIMEOUT of silence.
            OllamaResponseError: if the connection breaks.
        """
        self._silence.begin()
        try:
            piece = await self._response.read_some()
        finally:
            self._silence.end()
        self.body = piece or self.body
        self.is_whole = self._response.is_at_end
        return piece

    @cached_property
    def failure(self) -> OllamaError | None:
        """The failure that a response tells of in its status or its last line; of one that was read to its end."""
        if self.status != OK:
            return error_for(self.status, self.body, self._response.headers)
        if self.body[self.body.rfind(b"\n", 0, -1) + 1 :].startswith(ERROR_LINE):
            return OllamaResponseError("Ollama failed in the middle of its answer.")
        return None

    def close(self) -> None:
        """Give up the rest of the body; the connection is closed unless it is at its end."""
        self._silence.close()
        self._response.close()

from collections.abc import AsyncIterator
from itertools import takewhile

from services.ollama.errors import OllamaResponseError
from services.ollama.events import Answer, CompletionRequest, Event, ResolvedModel, incomplete_response
from services.ollama.stream_reader import ChunkReader


class CompletionStream:
    """An answer as it comes: iterate over batches of events, those that arrived together in one."""

    def __init__(self, served: ResolvedModel, reader: ChunkReader, request: CompletionRequest) -> None:
        self.served = served
        self._reader = reader
        self._answer = Answer(request, served)

    @property
    def is_done(self) -> bool:
        """Whether `Done` has been read."""
        return self._answer.is_done

    async def __aiter__(self) -> AsyncIterator[list[Event]]:
        """Give the events up to `Done`.

        Raises:
            OllamaError: if the answer breaks off, or ends without `done: true`.
        """
        answer = self._answer
        while not answer.is_done:
            chunks = await self._reader.read()
            if not chunks:
                raise incomplete_response()
            events: list[Event] = []
            try:
                for chunk in takewhile(lambda _: not answer.is_done, chunks):
                    events += answer.events(chunk)
            except OllamaResponseError:
                if events:
                    yield events  # what came before the bad chunk is not lost
                raise
            yield events
        await self._reader.read_to_end()

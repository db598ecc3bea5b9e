"""Record of the requests that the simulator received."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["completed", "client_gone", "reset"]


@dataclass(eq=False, kw_only=True)
class Call:
    """One request and its outcome; times are in seconds of the event loop's clock."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any = None
    """The parsed JSON body; None if there is none or it is invalid."""
    data: bytes = b""
    """The raw body."""
    connection: int
    """Number of the TCP connection."""
    reused: bool = False
    """Whether an earlier call used the same connection."""
    started: float
    first_byte: float | None = None
    ended: float | None = None
    status: int | None = None
    """The status of the response; None before it starts."""
    outcome: Outcome | None = None
    """"reset" when a fault or `stop()` cut the connection; None while running."""
    chunks_sent: int = 0
    """Lines sent of a stream; 1 for a response that is not streamed."""
    cut: bool = False
    """Whether the simulator itself closed or reset the connection, or is about to."""
    ended_event: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def end(self, outcome: Outcome) -> None:
        """Record the outcome; later calls have no effect."""
        if self.outcome is None:
            self.outcome = outcome
            self.ended = asyncio.get_running_loop().time()
            self.ended_event.set()

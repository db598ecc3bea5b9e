"""What the simulator remembers of each request it was sent."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["completed", "client_gone", "reset"]


@dataclass(eq=False, kw_only=True)
class Call:
    """One request and how it ended; times are the event loop's clock, in seconds."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any = None
    """The parsed JSON as it was sent; None for no body or a broken one."""
    data: bytes = b""
    """The body as it was sent."""
    connection: int
    """Equal for calls that came over the same TCP connection."""
    reused: bool = False
    """True when an earlier call came over the same connection."""
    started: float
    first_byte: float | None = None
    ended: float | None = None
    status: int | None = None
    """The status answered; None while no answer has begun."""
    outcome: Outcome | None = None
    """"reset" when a fault or `stop()` cut the connection; None while running."""
    chunks_sent: int = 0
    """Lines of a stream; 1 for an answer sent whole."""
    cut: bool = False
    """The simulator itself cut, or is about to cut, the connection."""
    ended_event: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def end(self, outcome: Outcome) -> None:
        """Record how the call ended; only the first time counts."""
        if self.outcome is None:
            self.outcome = outcome
            self.ended = asyncio.get_running_loop().time()
            self.ended_event.set()

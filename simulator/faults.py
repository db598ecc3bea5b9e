"""Faults on demand: what shall go wrong, for which requests, how often."""

import asyncio
from dataclasses import dataclass
from typing import Literal

from simulator.names import parse_name

GENERATION_PATHS = frozenset({"/api/generate", "/api/chat", "/api/embed", "/api/embeddings"})

Break = Literal["reset", "stall", "error", "end", "truncate"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One way to go wrong. Chunks are the lines of a stream.

    Whole answers know no chunks: there `reset_after` and `stall_after` act after the headers
    and half of the body (0: before any byte, and after the headers), `error_after` is a 500,
    and `end_after` gives `"done": false` without metrics, as Ollama does in each case.
    A fault that asks for more chunks than the answer has does nothing.
    """

    path: str | None = None
    """The exact path; None stands for every generation path."""
    model: str | None = None
    """Only requests for this model, compared as Ollama compares names."""
    times: int | None = 1
    """How many matching requests it meets; None is for ever."""

    delay_seconds: float = 0.0
    """Silence before anything else."""
    until: asyncio.Event | None = None
    """Silence before anything else, until this is set."""
    hang: bool = False
    """Never answer."""
    status: int | None = None
    """Answer `{"error": message}` with this status (or `body`, when there is one)."""
    message: str = "an error was encountered while running the model: unexpected EOF"
    """The text of `status` and `error_after`."""
    body: bytes | None = None
    """These bytes in place of the answer, with `status` (200) and `content_type`."""
    content_type: str = "text/html"
    retry_after: str | None = None
    """The `Retry-After` header of `status` and `body`."""
    load_failure: bool = False
    """The model fails to load: 500, and it is no longer among the running ones."""
    reset_after: int | None = None
    """Abort the connection with RST after so many chunks; 0: before any byte."""
    error_after: int | None = None
    """An `{"error": message}` line after so many chunks, then a normal end."""
    end_after: int | None = None
    """A normal end without `done` after so many chunks."""
    stall_after: int | None = None
    """Silence for ever after so many chunks; 0: after the headers."""
    truncate_body: bool = False
    """Less than the Content-Length promised, then a close; a stream lacks its last chunk."""
    split_bytes: int | None = None
    """Write in pieces of so many bytes, each flushed by itself."""
    merge: bool = False
    """Write all lines at once."""
    line_bytes: int = 0
    """Pad the `context` of the last line until the line has so many bytes (chat gets one too)."""
    endless: bool = False
    """Tokens for ever, until the client leaves."""
    close_after_response: bool = False
    """Close the connection right after an answer that promised keep-alive."""
    drop_reused: bool = False
    """Cut requests that come over a connection already used; fresh ones do not count."""
    garbage_status_line: bool = False
    """Answer bytes that are no HTTP."""

    def matches(self, path: str, model: str | None, *, reused: bool) -> bool:
        """Say whether a request meets this fault."""
        if path not in GENERATION_PATHS if self.path is None else path != self.path:
            return False
        if self.drop_reused and not reused:
            return False
        return self.model is None or same_model(self.model, model)

    def break_point(self) -> tuple[int | None, Break | None]:
        """Return after how many chunks a stream breaks, and how."""
        points: list[tuple[int | None, Break]] = [
            (self.reset_after, "reset"),
            (self.stall_after, "stall"),
            (self.error_after, "error"),
            (self.end_after, "end"),
            (1 if self.truncate_body else None, "truncate"),
        ]
        return next(((count, how) for count, how in points if count is not None), (None, None))


NO_FAULT = Fault()


def same_model(first: str, second: str | None) -> bool:
    """Compare two names as Ollama does."""
    if second is None:
        return False
    one, two = parse_name(first), parse_name(second)
    return one is not None and two is not None and one.key == two.key


@dataclass
class _Armed:
    fault: Fault
    left: int | None


class FaultQueue:
    """The armed faults, first in, first out."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []

    def arm(self, fault: Fault) -> None:
        """Add a fault behind those already waiting."""
        self._armed.append(_Armed(fault, fault.times))

    def clear(self) -> None:
        """Forget every fault."""
        self._armed.clear()

    def take(self, path: str, model: str | None, *, reused: bool) -> Fault:
        """Return the fault this request meets, and count it; `NO_FAULT` for none."""
        for armed in self._armed:
            if armed.left == 0 or not armed.fault.matches(path, model, reused=reused):
                continue
            if armed.left is not None:
                armed.left -= 1
            return armed.fault
        return NO_FAULT

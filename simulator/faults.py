"""Fault injection: kinds of faults, and the requests that get them."""

import asyncio
from dataclasses import dataclass
from typing import Literal

from simulator.names import parse_name

GENERATION_PATHS = frozenset({"/api/generate", "/api/chat", "/api/embed", "/api/embeddings"})

Break = Literal["reset", "stall", "error", "end", "truncate"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault to inject. A chunk is a line of a stream.

    In responses that are not streamed, `reset_after` and `stall_after` act after the headers and half of the body (0:
    before any byte, and after the headers, respectively), `error_after` gives a 500, and `end_after` gives
    `"done": false` without metrics, as Ollama does. If a response has fewer chunks than given, nothing happens.
    """

    path: str | None = None
    """The exact path; None matches all generation paths."""
    model: str | None = None
    """Only requests for this model, compared as Ollama compares names."""
    times: int | None = 1
    """How many matching requests are affected; None for all."""

    delay_seconds: float = 0.0
    """Delay before anything else."""
    until: asyncio.Event | None = None
    """Wait for this event before anything else."""
    hang: bool = False
    """Never respond."""
    status: int | None = None
    """Respond with this status and `{"error": message}`, or `body` if given."""
    message: str = "an error was encountered while running the model: unexpected EOF"
    """The error message of `status` and `error_after`."""
    body: bytes | None = None
    """Respond with these bytes, `status` (default 200) and `content_type`."""
    content_type: str = "text/html"
    retry_after: str | None = None
    """The `Retry-After` header of `status` and `body`."""
    load_failure: bool = False
    """The model fails to load: respond with 500, and unload it if it was loaded."""
    reset_after: int | None = None
    """Reset the connection (RST) after this many chunks; 0: before any byte."""
    error_after: int | None = None
    """Send an `{"error": message}` line after this many chunks, then end the response normally."""
    end_after: int | None = None
    """End the response normally after this many chunks, without `done`."""
    stall_after: int | None = None
    """Send nothing more after this many chunks; 0: after the headers."""
    truncate_body: bool = False
    """Close the connection before the end of the body: before Content-Length, or without the final chunk."""
    split_bytes: int | None = None
    """Write pieces of this many bytes, each flushed separately."""
    merge: bool = False
    """Write all lines of a stream at once."""
    line_bytes: int = 0
    """Pad the last line to at least this many bytes with `context`, which chat then has as well."""
    endless: bool = False
    """Generate tokens until the client disconnects."""
    close_after_response: bool = False
    """Close the connection after a response that did not announce it."""
    drop_reused: bool = False
    """Reset the connection on a request that reuses one; requests on new connections do not match."""
    garbage_status_line: bool = False
    """Respond with bytes that are not HTTP."""

    def matches(self, path: str, model: str | None, *, reused: bool) -> bool:
        """Return whether the fault applies to a request."""
        if path not in GENERATION_PATHS if self.path is None else path != self.path:
            return False
        if self.drop_reused and not reused:
            return False
        return self.model is None or same_model(self.model, model)

    def break_point(self) -> tuple[int | None, Break | None]:
        """Return after how many chunks a stream is interrupted, and how."""
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
    """Compare two model names as Ollama does."""
    if second is None:
        return False
    one, two = parse_name(first), parse_name(second)
    return one is not None and two is not None and one.key == two.key


@dataclass
class _Armed:
    fault: Fault
    left: int | None


class FaultQueue:
    """Pending faults; the first that matches a request applies."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []

    def arm(self, fault: Fault) -> None:
        """Append a fault."""
        self._armed.append(_Armed(fault, fault.times))

    def clear(self) -> None:
        """Remove all faults."""
        self._armed.clear()

    def take(self, path: str, model: str | None, *, reused: bool) -> Fault:
        """Return the fault that applies to a request, and count it as used; `NO_FAULT` if none applies."""
        for armed in self._armed:
            if armed.left == 0 or not armed.fault.matches(path, model, reused=reused):
                continue
            if armed.left is not None:
                armed.left -= 1
            return armed.fault
        return NO_FAULT

"""The Ollama server that answers the current request, where a gateway names it."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class ServingServer:
    """The name that the gateway gives a server; None until one has answered."""

    name: str | None = None


serving_server: ContextVar[ServingServer | None] = ContextVar("serving_server", default=None)
"""Set by the middleware; None outside of an HTTP request."""


def note_server(name: str | None) -> None:
    """Note the server that answers the current request; None if the gateway answers itself."""
    if (server := serving_server.get()) is not None:
        server.name = name

"""Parsing of model names, as Ollama does it."""

import re
from typing import NamedTuple

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,79}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]{0,79}")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:\-]{0,349}")


class Name(NamedTuple):
    """A model name with defaults filled in."""

    host: str
    namespace: str
    model: str
    tag: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """The name in lower case, for comparison."""
        return (self.host.lower(), self.namespace.lower(), self.model.lower(), self.tag.lower())

    @property
    def full(self) -> str:
        """The name with all its parts."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def shortest(self) -> str:
        """The name as listed: without the default host and namespace, always with a tag."""
        if self.host.lower() != DEFAULT_HOST:
            return self.full
        if self.namespace.lower() != DEFAULT_NAMESPACE:
            return f"{self.namespace}/{self.model}:{self.tag}"
        return f"{self.model}:{self.tag}"


def parse_name(text: str) -> Name | None:
    """Parse a name; None if Ollama rejects it as invalid."""
    rest = text.strip()
    tag = DEFAULT_TAG
    if rest.rfind(":") > rest.rfind("/"):
        rest, _, tag = rest.rpartition(":")
    rest, slash, model = rest.rpartition("/")
    host, namespace = DEFAULT_HOST, DEFAULT_NAMESPACE
    if slash:
        rest, slash, namespace = rest.rpartition("/")
    if slash:
        host = rest.rpartition("://")[2]
    valid = (
        _HOST.fullmatch(host) and _NAMESPACE.fullmatch(namespace) and _PART.fullmatch(model) and _PART.fullmatch(tag)
    )
    return Name(host, namespace, model, tag) if valid else None


def split_source(text: str) -> tuple[str, str | None]:
    """Remove a `:cloud`, `-cloud` or `:local` suffix; return the rest and the source it names."""
    rest = text.strip()
    head, colon, last = rest.rpartition(":")
    last = last.strip()
    if colon and last.lower() in {"cloud", "local"}:
        return head, last.lower()
    if colon and "/" not in last and last.lower().endswith("-cloud"):
        return rest[: -len("-cloud")], "cloud"
    return rest, None

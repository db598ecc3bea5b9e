"""Parsing and comparison of model names, as Ollama does it."""

import re
from functools import lru_cache
from typing import NamedTuple, Self

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

MAX_HOST_LENGTH = 350
MAX_PART_LENGTH = 80
MAX_LENGTH = 1000
WANTED = "a model name such as gpt-oss, llama3.1:8b or namespace/model:tag"
SCHEME = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*://")
HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*")
NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class ModelName(NamedTuple):
    """A parsed model name, lower-cased and with defaults filled in: equal names are the same model."""

    host: str
    namespace: str
    model: str
    tag: str
    is_cloud: bool = False

    @property
    def short(self) -> str:
        """The name without what is the default: `llama3.1`, or `namespace/model:tag`."""
        prefix = "" if self.namespace == DEFAULT_NAMESPACE else f"{self.namespace}/"
        host = "" if self.host == DEFAULT_HOST else f"{self.host}/"
        prefix = f"{host}{self.namespace}/" if host else prefix
        return short_name(f"{prefix}{self.model}:{self.tag}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `[host[:port]/][namespace/]model[:tag]`; `-cloud` and `:cloud` mark a cloud model.

        Raises:
            ValueError: if Ollama would reject it as an invalid model name.
        """
        given = text.strip()
        if len(given) > MAX_LENGTH:
            raise ValueError(WANTED)
        return cls._parse(given)

    @classmethod
    @lru_cache(maxsize=1024)
    def _parse(cls, given: str) -> Self:
        name, is_cloud = _cut_source(given)
        path, colon, tag = name.rpartition(":")
        if not colon or "/" in tag:
            path, tag = name, DEFAULT_TAG
        *prefix, model = path.rsplit("/", 2)
        namespace = prefix.pop() if prefix else DEFAULT_NAMESPACE
        host = SCHEME.sub("", prefix.pop()) if prefix else DEFAULT_HOST
        valid = (
            (HOST.fullmatch(host) and len(host) <= MAX_HOST_LENGTH)
            and NAMESPACE.fullmatch(namespace)
            and PART.fullmatch(model)
            and PART.fullmatch(tag)
            and max(map(len, (namespace, model, tag))) <= MAX_PART_LENGTH
            and (name == given or _cut_source(name)[0] == name)
        )
        if not valid:
            raise ValueError(WANTED)
        return cls(host.lower(), namespace.lower(), model.lower(), tag.lower(), is_cloud)


def _cut_source(name: str) -> tuple[str, bool]:
    """Remove the suffix that determines where the model runs: `:cloud`, `:local` or a final `-cloud`."""
    head, colon, tail = name.rpartition(":")
    source = tail.lower()
    if colon and source in {"cloud", "local"}:
        return head, source == "cloud"
    if colon and "/" not in source and source.endswith("-cloud"):
        return name[: -len("-cloud")], True
    return name, False


def short_name(name: str) -> str:
    """Return the name without `:latest`: `gpt-oss:latest` becomes `gpt-oss`; other tags stay."""
    return name.removesuffix(f":{DEFAULT_TAG}")

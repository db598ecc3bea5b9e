"""The installed models."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from simulator.clock import rfc3339
from simulator.names import Name, parse_name

DEFAULT_MODELS = ("gpt-oss", "llama3.1", "nomic-embed-text")
DEFAULT_WIDTH = 768


@dataclass(frozen=True)
class Model:
    """An installed model."""

    name: Name
    capabilities: tuple[str, ...]
    width: int
    """Dimensions of its embeddings."""
    modified_at: datetime
    weights: str
    """Digest of the file it runs; models of the same file share a runner."""

    @property
    def always_thinks(self) -> bool:
        """Whether thinking cannot be turned off, as with gpt-oss."""
        return self.name.model.lower().startswith("gpt-oss")

    @property
    def label(self) -> str:
        """The name without `:latest`."""
        return self.name.shortest.removesuffix(":latest")

    @property
    def family(self) -> str:
        """The architecture, as `details` names it."""
        if self.always_thinks:
            return "gptoss"
        return "nomic-bert" if "embedding" in self.capabilities else "llama"

    @property
    def context_length(self) -> int:
        """Maximum context length in tokens."""
        return 2048 if "embedding" in self.capabilities else 131_072

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return hashlib.sha256(self.name.full.encode()).hexdigest()

    @property
    def size(self) -> int:
        """The manifest's size in bytes."""
        return 10_000_000 + int(self.digest[:8], 16)

    @property
    def details(self) -> dict[str, Any]:
        """The `details` of lists and of /api/show."""
        return {
            "parent_model": "",
            "format": "gguf",
            "family": self.family,
            "families": [self.family],
            "parameter_size": "137M" if "embedding" in self.capabilities else "8.0B",
            "quantization_level": "Q4_K_M",
            "context_length": self.context_length,
            "embedding_length": self.width,
        }

    def tags_item(self) -> dict[str, Any]:
        """Return the model's entry in /api/tags."""
        return {
            "name": self.name.shortest,
            "model": self.name.shortest,
            "modified_at": rfc3339(self.modified_at),
            "size": self.size,
            "digest": self.digest,
            "details": self.details,
            "capabilities": list(self.capabilities),
        }

    def show(self) -> dict[str, Any]:
        """Return the response of /api/show."""
        return {
            "license": "none: this model is simulated",
            "modelfile": f"# simulated\n# FROM {self.name.shortest}\n\nFROM /models/blobs/sha256-{self.weights}\n",
            "template": "{{ .Prompt }}",
            "details": self.details,
            "model_info": {
                "general.architecture": self.family,
                "general.parameter_count": 8_000_000_000,
                f"{self.family}.context_length": self.context_length,
                f"{self.family}.embedding_length": self.width,
                "tokenizer.ggml.tokens": None,
            },
            "tensors": [],
            "capabilities": list(self.capabilities),
            "modified_at": rfc3339(self.modified_at),
        }


class Library:
    """The installed models by name."""

    def __init__(self, names: Iterable[str]) -> None:
        self._models: dict[tuple[str, str, str, str], Model] = {}
        for name in names:
            self.install(name)

    def install(
        self,
        name: str,
        capabilities: Iterable[str] | None = None,
        width: int | None = None,
        same_weights_as: str | None = None,
    ) -> None:
        """Install or replace a model; by default its capabilities are derived from its name.

        With `same_weights_as` it is another name of that model's file, and shares its runner.

        Raises:
            ValueError: if it is not a valid model name.
        """
        parsed = _parsed(name)
        caps = tuple(_usual_capabilities(parsed) if capabilities is None else capabilities)
        original = parsed if same_weights_as is None else _parsed(same_weights_as)
        weights = hashlib.sha256(f"weights of {original.key}".encode()).hexdigest()
        self._models[parsed.key] = Model(parsed, caps, width or DEFAULT_WIDTH, datetime.now(UTC), weights)

    def remove(self, name: str) -> None:
        """Remove a model.

        Raises:
            KeyError: if it is not installed.
        """
        parsed = parse_name(name)
        if parsed is None or self._models.pop(parsed.key, None) is None:
            raise KeyError(name)

    def find(self, name: Name, *, match_case: bool = False) -> Model | None:
        """Return the installed model with this name, or None."""
        model = self._models.get(name.key)
        return None if model is not None and match_case and model.name != name else model

    def tags(self) -> list[dict[str, Any]]:
        """Return the models of /api/tags, newest first."""
        newest_first = sorted(self._models.values(), key=lambda model: model.modified_at, reverse=True)
        return [model.tags_item() for model in newest_first]


def _parsed(name: str) -> Name:
    parsed = parse_name(name)
    if parsed is None:
        raise ValueError(f"{name!r} is not a model name")
    return parsed


def _usual_capabilities(name: Name) -> tuple[str, ...]:
    model = name.model.lower()
    if any(part in model for part in ("embed", "minilm", "bge")):
        return ("embedding",)
    if model.startswith(("gpt-oss", "qwen3", "deepseek-r1")):
        return ("completion", "tools", "thinking")
    return ("completion", "tools")

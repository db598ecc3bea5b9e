"""Installed and loaded models."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from simulator.clock import rfc3339
from simulator.names import Name, parse_name

DEFAULT_MODELS = ("gpt-oss", "llama3.1", "nomic-embed-text")
DEFAULT_WIDTH = 768
KEEP_ALIVE_SECONDS = 300.0
LAUNCH_OPTIONS = (
    "num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict",
)  # fmt: skip
"""Options that take effect when a model is loaded: a different value reloads it."""
_FOR_EVER = timedelta(days=365 * 290)


@dataclass(frozen=True)
class Model:
    """An installed model."""

    name: Name
    capabilities: tuple[str, ...]
    width: int
    """Dimensions of its embeddings."""
    modified_at: datetime

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
            "modelfile": f"# simulated\nFROM {self.name.shortest}\n",
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

    def install(self, name: str, capabilities: Iterable[str] | None = None, width: int | None = None) -> None:
        """Install or replace a model; by default its capabilities are derived from its name.

        Raises:
            ValueError: if it is not a valid model name.
        """
        parsed = parse_name(name)
        if parsed is None:
            raise ValueError(f"{name!r} is not a model name")
        caps = tuple(_usual_capabilities(parsed) if capabilities is None else capabilities)
        self._models[parsed.key] = Model(parsed, caps, width or DEFAULT_WIDTH, datetime.now(UTC))

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


def _usual_capabilities(name: Name) -> tuple[str, ...]:
    model = name.model.lower()
    if any(part in model for part in ("embed", "minilm", "bge")):
        return ("embedding",)
    if model.startswith(("gpt-oss", "qwen3", "deepseek-r1")):
        return ("completion", "tools", "thinking")
    return ("completion", "tools")


@dataclass
class _Runner:
    launched_with: tuple[Any, ...]
    expires_at: datetime
    context_length: int


@dataclass
class Runners:
    """The loaded models."""

    load_seconds: float
    loads: Counter[str] = field(default_factory=Counter)
    """Number of loads by model, under its listed name."""
    _running: dict[Model, _Runner] = field(default_factory=dict)
    _locks: dict[Model, asyncio.Lock] = field(default_factory=dict)

    async def load(self, model: Model, options: dict[str, Any], keep_alive: float | None) -> int:
        """Load a model unless it is loaded with the same options; return the duration in ns.

        As in Ollama, a load is cancelled if its client disconnects, and the next waiting request starts it again.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        wanted = tuple(options.get(key) for key in LAUNCH_OPTIONS)
        async with self._locks.setdefault(model, asyncio.Lock()):
            runner = self._alive().get(model)
            if runner is None or runner.launched_with != wanted:
                self._running.pop(model, None)
                self.loads[model.name.shortest] += 1
                if self.load_seconds:
                    await asyncio.sleep(self.load_seconds)
                context = min(int(options.get("num_ctx") or 4096), model.context_length)
                runner = _Runner(wanted, _expiry(KEEP_ALIVE_SECONDS), context)
                self._running[model] = runner
            if keep_alive is not None:
                runner.expires_at = _expiry(keep_alive)
        return max(1, int((loop.time() - began) * 1e9))

    def unload(self, model: Model) -> None:
        """Unload a model."""
        self._running.pop(model, None)

    def clear(self) -> None:
        """Unload all models, as a restart does."""
        self._running.clear()
        self._locks.clear()

    def ps(self) -> list[dict[str, Any]]:
        """Return the models of /api/ps, those that expire last first."""
        runners = sorted(self._alive().items(), key=lambda item: item[1].expires_at, reverse=True)
        return [
            {
                "name": model.name.shortest,
                "model": model.name.shortest,
                "size": model.size,
                "digest": model.digest,
                "details": model.details,
                "expires_at": rfc3339(runner.expires_at),
                "size_vram": 0,
                "context_length": runner.context_length,
            }
            for model, runner in runners
        ]

    def _alive(self) -> dict[Model, _Runner]:
        now = datetime.now(UTC)
        for model in [model for model, runner in self._running.items() if runner.expires_at <= now]:
            del self._running[model]
        return self._running


def _expiry(seconds: float) -> datetime:
    left = _FOR_EVER if seconds < 0 or seconds > _FOR_EVER.total_seconds() else timedelta(seconds=seconds)
    return datetime.now(UTC) + left

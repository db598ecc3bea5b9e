"""The models that Ollama has loaded: their expiry times, which share a runner, and unloading."""

import asyncio
import re
import time
from collections.abc import Iterable
from typing import Any

from services.ollama.client import OllamaClient
from services.ollama.errors import OllamaError, OllamaResponseError
from services.ollama.parsing.model_facts import parse_loaded
from services.ollama.types.model_names import ModelName

WEIGHTS = re.compile(r"^FROM (.+)$", re.MULTILINE)
POLL_SECONDS = 0.1


class LoadedModels:
    """Queries and unloads the loaded models, on the connections of health checks."""

    def __init__(self, client: OllamaClient) -> None:
        self._client = client

    @property
    def is_behind_gateway(self) -> bool:
        """Whether several servers may respond, so that one does not know what another has loaded."""
        return self._client.is_behind_gateway

    async def expiries(self) -> dict[ModelName, str | None]:
        """Return when each loaded model expires, as in `/api/ps`.

        The time is constant once a model has been idle. It advances while the model is loaded for its first request,
        and while that runs. See https://docs.ollama.com/api/ps.

        Raises:
            OllamaError: if the list cannot be read. Ollama 0.30 and later do not respond while they load a model.
        """
        loaded = parse_loaded(await self._client.get("/api/ps"))
        return {name: model.expires_at for name, model in loaded.items()}

    async def sharing(self, model: ModelName, others: Iterable[ModelName]) -> set[ModelName]:
        """Return the model and those of the others that have the same weights, which therefore share its runner."""
        names = {model, *others}
        if len(names) == 1:
            return names
        weights = dict(zip(names, await asyncio.gather(*map(self._weights, names)), strict=True))
        return {name for name in names if weights[name] == weights[model]}

    async def unload(self, model: ModelName, names: set[ModelName], *, seconds: float) -> None:
        """Unload a model, which `/api/ps` may list under any of `names`, and wait until it is gone.

        Ollama completes the requests that it holds first. See https://docs.ollama.com/api/generate.

        Raises:
            OllamaError: if this fails, or takes longer than `seconds`.
        """
        give_up_at = time.monotonic() + seconds
        body = {"model": model.short, "keep_alive": 0, "stream": False}
        await self._client.post_control("/api/generate", body)
        while not names.isdisjoint(await self.expiries()):
            if time.monotonic() > give_up_at:
                detail = f"Ollama has not unloaded the model within {seconds:g} s."
                raise OllamaResponseError(detail)
            await asyncio.sleep(POLL_SECONDS)

    async def _weights(self, model: ModelName) -> Any:
        """Return the file that a model runs, or its name if Ollama does not tell."""
        try:
            document = await self._client.show(model.short)
        except OllamaError:
            return model
        modelfile = document.get("modelfile") if isinstance(document, dict) else None
        found = WEIGHTS.search(modelfile) if isinstance(modelfile, str) else None
        return model if found is None else found[1]

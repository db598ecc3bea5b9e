"""ASGI app that is created on first use."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send


class LazyApp:
    """An app for servers that import `main:app`: importing it reads no settings."""

    def __init__(self, create: Callable[[], FastAPI]) -> None:
        self._create = create
        self.created: FastAPI | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get(), name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await self._get()(scope, receive, send)

    def _get(self) -> FastAPI:
        if self.created is None:
            self.created = self._create()
        return self.created

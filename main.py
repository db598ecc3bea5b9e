"""The app: what is wired to what. `python main.py` serves it."""

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from config import Settings, get_settings
from logs import configure_logging
from middleware.api_keys import ApiKeyMiddleware
from middleware.client_watch import ClientWatchMiddleware
from middleware.head_requests import HeadMiddleware
from middleware.problem_answers import ProblemMiddleware
from middleware.request_body import RequestBodyMiddleware
from middleware.request_context import RequestContextMiddleware
from middleware.server_errors import ServerErrorMiddleware
from middleware.unread_body import UnreadBodyMiddleware
from routers import health, ollama
from routers.direct import DirectRoutes
from routers.documentation import DESCRIPTION, TAGS, complete_schema, operation_id
from routers.pages import page_paths, pages_router
from routers.trailing_slash import TrailingSlashFallback
from server.uvicorn_options import UVICORN_OPTIONS
from services.health import ComponentChecks
from services.ollama_service import OllamaService, ollama_service
from shutdown import Shutdown
from startup import report_upstream

EXPOSED_HEADERS = ["X-Request-ID", "X-Model", "X-Model-Fallback", "Retry-After"]


class App(FastAPI):
    """FastAPI with the layers that this service needs around it, and no others."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return the whole app as one callable.

        The watch on the client is outermost: it needs the server's own `send`.
        """
        app: ASGIApp = DirectRoutes(AsyncExitStackMiddleware(self.router), ollama.direct_router.routes)
        app = ProblemMiddleware(app)
        for layer, args, kwargs in reversed(self.user_middleware):
            app = layer(app, *args, **kwargs)
        return ClientWatchMiddleware(app, self.state.settings.client_write_timeout)

    def openapi(self) -> dict[str, Any]:
        """Return the description of the API."""
        if not self.openapi_schema:
            self.openapi_schema = complete_schema(super().openapi(), has_keys=bool(self.state.settings.api_keys))
        return self.openapi_schema


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the app: around the singleton, or around a service of its own if it is given settings."""
    service = OllamaService(settings) if settings else ollama_service
    settings = service.settings
    shutdown = Shutdown(grace_seconds=settings.shutdown_grace, delay_seconds=settings.shutdown_delay)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        configure_logging(settings)
        await service.connect()
        report = asyncio.create_task(report_upstream(service))
        with shutdown.hooked():
            yield
        report.cancel()
        await service.disconnect()

    middleware = [Middleware(UnreadBodyMiddleware), Middleware(RequestContextMiddleware, shutdown=shutdown)]
    if settings.cors_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["*"],
                expose_headers=EXPOSED_HEADERS,
            )
        )
    middleware.append(Middleware(ServerErrorMiddleware))
    if settings.api_keys:
        open_paths = health.OPEN_PATHS | page_paths(settings)
        middleware.append(Middleware(ApiKeyMiddleware, keys=settings.api_keys, open_paths=open_paths))
    middleware += [
        Middleware(
            RequestBodyMiddleware,
            max_bytes=settings.max_request_bytes,
            max_bytes_in_flight=settings.max_body_bytes_in_flight,
            timeout_seconds=settings.request_body_timeout,
        ),
        Middleware(HeadMiddleware),
    ]

    app = App(
        title="Ollama service",
        version="0.1.0",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        openapi_url="/openapi.json" if settings.docs_enabled else None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=operation_id,
        lifespan=lifespan,
        redirect_slashes=False,
        servers=[{"url": "./"}],  # beside this document, also under the prefix of a proxy
        root_path_in_servers=False,
        middleware=middleware,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # to look for it takes 8 µs a request
    )
    app.state.settings = settings
    app.state.ollama_service = service
    app.state.shutdown = shutdown
    app.state.component_checks = ComponentChecks(timeout_seconds=settings.ollama_health_timeout)
    app.include_router(ollama.router)
    app.include_router(ollama.direct_router)
    app.include_router(health.router)
    app.include_router(pages_router(settings, app.version))
    app.router.default = TrailingSlashFallback(app.router)
    return app


def serve() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = get_settings()
    configure_logging(settings)
    # uvicorn raises the signal again when it has shut down
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        "main:app",
        host=settings.host,
        port=settings.port,
        **UVICORN_OPTIONS,
    )


if __name__ == "__main__":
    serve()
else:
    app = create_app()
    gc.freeze()  # what was imported stays: to look through it for garbage costs 7 % of a whole chat

"""The app: what is wired to what. `python main.py` serves it."""

import os
import signal

if __name__ == "__main__":
    # A process that is PID 1 ignores a signal without a handler: have one while the imports below take their time.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))

import asyncio
import gc
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

from config import Settings, env_files, get_settings
from middleware.allowed_hosts import LOCAL_HOSTS, AllowedHostsMiddleware
from middleware.api_keys import ApiKeyMiddleware
from middleware.client_disconnect import ClientDisconnectMiddleware
from middleware.exception_handlers import with_exception_handlers
from middleware.head_requests import HeadMiddleware
from middleware.problem_handler import ProblemHandlerMiddleware
from middleware.request_body.limits import RequestBodyMiddleware
from middleware.request_body.unread import UnreadBodyMiddleware
from middleware.request_context import RequestContextMiddleware
from middleware.server_errors import ServerErrorMiddleware
from routers import health, ollama
from routers.direct_route import DirectRoutes
from routers.openapi.schema import DESCRIPTION, TAGS, complete_schema, operation_id
from routers.pages import page_paths, pages_router
from routers.trailing_slash import TrailingSlashFallback
from server.listening import is_loopback, listen_problem
from server.logging import configure_logging
from server.shutdown import Shutdown
from server.startup import end_with_supervisor, log_settings, log_upstream
from server.uvicorn_options import UVICORN_OPTIONS
from services.components import ComponentChecks
from services.ollama_service import OllamaService, ollama_service

EXPOSED_HEADERS = ["X-Request-ID", "X-Model", "X-Model-Fallback", "Retry-After"]


class App(FastAPI):
    """FastAPI with the layers that this service needs around it, and no others."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return the whole app as one callable.

        The watch on the client is outermost: it needs the server's own `send`.
        """
        app: ASGIApp = DirectRoutes(HeadMiddleware(AsyncExitStackMiddleware(self.router)), ollama.direct_router.routes)
        app = ProblemHandlerMiddleware(with_exception_handlers(app, self.exception_handlers))
        for layer, args, kwargs in reversed(self.user_middleware):
            app = layer(app, *args, **kwargs)
        return ClientDisconnectMiddleware(app, self.state.settings.client_write_timeout)

    def openapi(self) -> dict[str, Any]:
        """Return the description of the API."""
        if not self.openapi_schema:
            self.openapi_schema = complete_schema(super().openapi(), has_keys=bool(self.state.settings.api_keys))
        return self.openapi_schema


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the app: around the singleton, or around a service of its own if it is given settings."""
    service = OllamaService(settings) if settings else ollama_service
    files = () if settings else env_files()
    settings = service.settings
    shutdown = Shutdown(grace_seconds=settings.shutdown_grace, delay_seconds=settings.shutdown_delay)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        configure_logging(settings)
        end_with_supervisor()
        log_settings(settings, files)
        await service.connect()
        report = asyncio.create_task(log_upstream(service))
        try:
            with shutdown.hooked():
                yield
        finally:
            report.cancel()
            try:
                await asyncio.wait({report})
            finally:
                await service.disconnect()

    middleware = [Middleware(UnreadBodyMiddleware), Middleware(RequestContextMiddleware, shutdown=shutdown)]
    if settings.allowed_hosts and "*" not in settings.allowed_hosts:
        middleware.append(Middleware(AllowedHostsMiddleware, hosts=settings.allowed_hosts))
    elif not settings.allowed_hosts and is_loopback(settings.host) and not settings.api_keys:
        middleware.append(Middleware(AllowedHostsMiddleware, hosts=LOCAL_HOSTS, local_only=True))
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
    middleware.append(
        Middleware(
            RequestBodyMiddleware,
            max_bytes=settings.max_request_bytes,
            max_bytes_in_flight=settings.max_body_bytes_in_flight,
            timeout_seconds=settings.request_body_timeout,
        )
    )

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


def create_served_app() -> FastAPI:
    """Create the app of a server process that `serve` starts; with several workers, in each of them."""
    app = create_app()
    gc.freeze()  # what was imported stays: to look through it for garbage costs 7 % of a whole chat
    return app


def serve() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = get_settings()
    configure_logging(settings)
    if problem := listen_problem(settings.host, settings.port):
        sys.exit(problem)
    # uvicorn raises the signal again when it has shut down
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    uvicorn.run(
        "main:create_served_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.web_concurrency,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        **UVICORN_OPTIONS,
    )


def __getattr__(name: str) -> FastAPI:
    """Create `main.app`, for `uvicorn main:app`, when it is first asked for."""
    if name != "app":
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    app: FastAPI = globals().setdefault("app", create_app())
    return app


if __name__ == "__main__":
    serve()

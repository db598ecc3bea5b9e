"""Application factory and entry point: `python main.py` serves the app."""

import os
import signal

if __name__ == "__main__":
    # As PID 1, which it is in a container, a process ignores signals that have no handler. The imports below are slow.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))

import gc
import sys
from contextlib import nullcontext

import uvicorn
from fastapi import FastAPI

from config import Settings, env_files, get_settings
from middleware.stack import LayeredApp, middleware_stack
from routers import health, native, ollama, openai, version
from routers.metrics import PATH as METRICS_PATH
from routers.metrics import metrics_router
from routers.openapi.schema import DESCRIPTION, TAGS, operation_id
from routers.pages import page_paths, pages_router
from routers.trailing_slash import TrailingSlashFallback
from server.build_info import VERSION
from server.lazy_app import LazyApp
from server.listening import listen_problem
from server.observability.logging import configure_logging
from server.observability.setup import observe
from server.observability.shared_metrics import shared_metrics
from server.observability.tracing import telemetry_config
from server.shutdown import Shutdown
from server.startup import lifespan
from server.uvicorn_options import UVICORN_OPTIONS
from services.components import component_checks
from services.ollama_service import OllamaService, ollama_service


def create_app(settings: Settings | None = None) -> FastAPI:
    """Create the app.

    It uses the `ollama_service` singleton with the settings of the process or, given `settings`, a service of its own.
    """
    if settings is None:
        service, files = ollama_service, env_files()
        settings = service.settings
    else:
        service, files = OllamaService(settings), ()
    metrics = observe(service)
    checks = component_checks(settings)
    shutdown = Shutdown(grace_seconds=settings.shutdown_grace, delay_seconds=settings.shutdown_delay)
    open_paths = health.OPEN_PATHS | page_paths(settings) | ({METRICS_PATH} if metrics else set())
    app = LayeredApp(
        title="Ollama service",
        version=VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        openapi_url="/openapi.json" if settings.docs_enabled else None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=operation_id,
        lifespan=lifespan(service, checks, shutdown, files, metrics),
        redirect_slashes=False,
        servers=[{"url": "./"}],  # relative to the document, so valid behind the path prefix of a proxy
        root_path_in_servers=False,
        middleware=middleware_stack(settings, shutdown, open_paths, metrics),
        telemetry=telemetry_config(),
    )
    app.state.settings = settings
    app.state.ollama_service = service
    app.state.shutdown = shutdown
    app.state.component_checks = checks
    # added to the app's own router: FastAPI is slower at matching the routes of an included one
    app.router.routes += ollama.router.routes
    app.router.routes += native.router.routes if settings.ollama_api_enabled else []
    app.router.routes += openai.router.routes if settings.openai_api_enabled else []
    app.include_router(health.router)
    app.include_router(version.router)
    if metrics is not None:
        app.include_router(metrics_router(metrics))
    app.include_router(pages_router(settings, VERSION))
    app.router.default = TrailingSlashFallback(app.router)
    return app


def create_served_app() -> FastAPI:
    """Create the app in a process started by `serve`; each worker process calls this."""
    app = create_app()
    gc.freeze()  # imported objects live for ever, and letting the collector scan them costs 7 % of a complete chat
    return app


def serve() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = get_settings()
    configure_logging(settings)
    if problem := listen_problem(settings.host, settings.port):
        sys.exit(problem)
    # uvicorn raises the signal again after its shutdown: exit with code 0 then
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    shared = settings.web_concurrency > 1 and settings.metrics_enabled
    with shared_metrics() if shared else nullcontext():
        uvicorn.run(
            "main:create_served_app",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.web_concurrency,
            forwarded_allow_ips=settings.forwarded_allow_ips,
            **UVICORN_OPTIONS,
        )


app = LazyApp(create_app)

if __name__ == "__main__":
    serve()

"""The middleware stack and the FastAPI app that uses it."""

from collections.abc import Collection
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from config import Settings
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
from routers.openapi.schema import complete_schema
from server.listening import is_loopback
from server.observability.metrics import Metrics
from server.shutdown import Shutdown

EXPOSED_HEADERS = [
    "X-Request-ID",
    "X-Model",
    "X-Model-Fallback",
    "X-Prompt-Truncated",
    "X-Served-By",
    "Retry-After",
    "X-Should-Retry",
]


class LayeredApp(FastAPI):
    """FastAPI with the middleware of this service in place of Starlette's default stack."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return the router wrapped in all middleware.

        `ClientDisconnectMiddleware` is outermost because it needs the server's own `send`. The innermost convert the
        exceptions of the routes into responses.
        """
        layers = [
            Middleware(ClientDisconnectMiddleware, self.state.settings.client_write_timeout),
            *self.user_middleware,
            Middleware(ProblemHandlerMiddleware),
            Middleware(with_exception_handlers, self.exception_handlers),
            Middleware(HeadMiddleware),
            Middleware(AsyncExitStackMiddleware),
        ]
        app: ASGIApp = self.router
        for layer, args, kwargs in reversed(layers):
            app = layer(app, *args, **kwargs)
        return app

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        if not self.openapi_schema:
            self.openapi_schema = complete_schema(super().openapi(), has_keys=bool(self.state.settings.api_keys))
        return self.openapi_schema


def middleware_stack(
    settings: Settings, shutdown: Shutdown, open_paths: Collection[str], metrics: Metrics | None
) -> list[Middleware]:
    """Return the configurable middleware, outermost first; `open_paths` need no API key.

    `LayeredApp` adds the outermost and the innermost ones.
    """
    return [
        Middleware(UnreadBodyMiddleware),
        Middleware(
            RequestContextMiddleware,
            shutdown=shutdown,
            on_request=metrics.observe_request if metrics else None,
            on_rejected_head=metrics.observe_rejected_head if metrics else None,
        ),
        *_allowed_hosts(settings),
        *_cors(settings),
        Middleware(ServerErrorMiddleware),
        *_api_keys(settings, open_paths),
        Middleware(
            RequestBodyMiddleware,
            max_bytes=settings.max_request_bytes,
            max_bytes_in_flight=settings.max_body_bytes_in_flight,
            timeout_seconds=settings.request_body_timeout,
        ),
    ]


def _allowed_hosts(settings: Settings) -> list[Middleware]:
    if settings.allowed_hosts:
        if "*" in settings.allowed_hosts:
            return []
        return [Middleware(AllowedHostsMiddleware, hosts=settings.allowed_hosts)]
    if is_loopback(settings.host) and not settings.api_keys:
        return [Middleware(AllowedHostsMiddleware, hosts=LOCAL_HOSTS, local_only=True)]
    return []


def _cors(settings: Settings) -> list[Middleware]:
    if not settings.cors_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )
    ]


def _api_keys(settings: Settings, open_paths: Collection[str]) -> list[Middleware]:
    if not settings.api_keys:
        return []
    return [Middleware(ApiKeyMiddleware, keys=settings.api_keys, open_paths=open_paths)]

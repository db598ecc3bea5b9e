"""Routes that FastAPI describes, and that are served past it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, get_type_hints

import orjson
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from routers.asgi_scope import first_header
from routers.json_body import SMALL_BYTES, read_json
from routers.responses.problems import MAX_FIELDS
from routers.route_path import get_route_path
from server.shutdown import Shutdown
from services.ollama_service import OllamaService

Endpoint = Callable[[Any, OllamaService, Shutdown], Awaitable[Response]]


class _StrictRequest(Request):
    async def json(self) -> Any:
        return await read_json(await self.body())


class DirectRoute(APIRoute):
    """A route to an endpoint of the form `(body: Model, service: OllamaServiceDep, shutdown: ShutdownDep)`.

    Bodies are read by `read_json`.
    """

    @property
    def body_model(self) -> type[BaseModel]:
        """What a body has to be.

        Raises:
            TypeError: if the endpoint has another form, which `DirectRoutes` would not fill in.
        """
        hints = get_type_hints(self.endpoint)
        model: type[BaseModel] | None = hints.pop("body", None)
        hints.pop("return", None)
        if model is None or hints != {"service": OllamaService, "shutdown": Shutdown}:
            msg = f"{self.name} has to take body, service and shutdown"
            raise TypeError(msg)
        return model

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler behind another parser."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(_StrictRequest(request.scope, request.receive))

        return handle


class DirectRoutes:
    """Serves direct routes by a look-up of their path, and passes all else on to FastAPI.

    FastAPI matches one route after the other, solves dependencies, and keeps stacks of what to close: 160 µs a request
    more than this. It still serves where a dependency is overridden.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._endpoints: dict[str, tuple[Endpoint, type[BaseModel]]] = {
            path: (route.endpoint, route.body_model)
            for route in routes
            if isinstance(route, DirectRoute)
            for path in (route.path, f"{route.path}/")
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        found = self._find(scope) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None or scope["app"].dependency_overrides:
            await self._app(scope, receive, send)
            return
        endpoint, model = found
        body = await validated_body(model, scope, await _read(receive))
        state = scope["app"].state
        response = await endpoint(body, state.ollama_service, state.shutdown)
        await response(scope, receive, send)

    def _find(self, scope: Scope) -> tuple[Endpoint, type[BaseModel]] | None:
        return self._endpoints.get(get_route_path(scope))


async def _read(receive: Receive) -> bytes:
    parts = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def validated_body(model: type[BaseModel], scope: Scope, data: bytes) -> BaseModel:
    """Return the body of a request; what is wrong with it is said as FastAPI does."""
    value: Any = data
    if data and _is_json(first_header(scope, b"content-type")):
        try:
            value = await read_json(data)
        except orjson.JSONDecodeError as error:
            line = {"type": "json_invalid", "loc": ("body", error.pos), "msg": "", "ctx": {"error": error.msg}}
            raise RequestValidationError([line], body=error.doc) from error
    is_large = len(data) > SMALL_BYTES
    del data
    if is_large:
        await asyncio.sleep(0)
    failure = None
    try:
        body = model.model_validate(value, from_attributes=True)
    except ValidationError as error:
        failure = error
    if is_large:
        await asyncio.sleep(0)
    if failure is not None:
        lines = [line | {"loc": ("body", *line["loc"])} for line in failure.errors(include_url=False)[:MAX_FIELDS]]
        raise RequestValidationError(lines, body=value) from failure
    return body


def _is_json(content_type: bytes) -> bool:
    media_type = content_type.partition(b";")[0].strip().lower()
    return media_type == b"application/json" or (
        media_type.startswith(b"application/") and media_type.endswith(b"+json")
    )

"""Route class that reads and validates the body and calls the endpoint without FastAPI's dependency solving."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, get_type_hints

import orjson
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, request_response
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from routers.asgi_scope import first_header, get_route_path
from routers.json_body import read_json
from routers.responses.problems import MAX_FIELDS
from server.shutdown import Shutdown
from services.ollama_service import OllamaService
from services.requests.value_count import SMALL_BYTES


class _StrictRequest(Request):
    async def json(self) -> Any:
        return await read_json(await self.body())


class DirectRoute(APIRoute):
    """A route to an endpoint `(body: Model, service: OllamaServiceDep, shutdown: ShutdownDep)`, or without the body.

    FastAPI matches and documents it like any other route. Only FastAPI's request handling is skipped, which takes
    140 µs; it is used if a dependency is overridden, and for endpoints without a body that have other parameters.
    Bodies are parsed by `read_json`. Add these routes to the app's own router, as `include_router` adds 15 µs to each
    request.

    Raises:
        TypeError: if the endpoint has a body and other parameters.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        hints = get_type_hints(endpoint)
        self._body_model: type[BaseModel] | None = hints.pop("body", None)
        hints.pop("return", None)
        self._is_direct = hints == {"service": OllamaService, "shutdown": Shutdown}
        self._fixed_path = self.path.partition("{")[0]
        if self._body_model is not None and not self._is_direct:
            raise TypeError(f"{self.name} must have the parameters body, service and shutdown")

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match a request; FastAPI's expression is used only if the fixed part of the path is equal."""
        path = get_route_path(scope)
        if path.startswith(self._fixed_path) and (self.param_convertors or len(path) == len(self._fixed_path)):
            return super().matches(scope)
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        app = scope["app"]
        if not self._is_direct or scope["method"] not in (self.methods or ()) or app.dependency_overrides:
            if self.dependency_overrides_provider is not app:
                self.dependency_overrides_provider = app
                self.app = request_response(self.get_route_handler())
            await super().handle(scope, receive, send)
            return
        service, shutdown = app.state.ollama_service, app.state.shutdown
        if self._body_model is None:
            response = await self.endpoint(service, shutdown)
        else:
            body = await validated_body(self._body_model, scope, await read_body(receive))
            response = await self.endpoint(body, service, shutdown)
        await response(scope, receive, send)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler, with `read_json` as its JSON parser."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(_StrictRequest(request.scope, request.receive))

        return handle


async def read_body(receive: Receive) -> bytes:
    """Return the complete body of a request.

    Raises:
        ClientDisconnect: if the client disconnects before it is complete.
    """
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
    """Parse and validate the body of a request.

    Raises:
        RequestValidationError: as in FastAPI, if it is not valid.
        HTTPException: 413 if it has too many parts or values.
    """
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

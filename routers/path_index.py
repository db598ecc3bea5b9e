from collections.abc import Iterable

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from routers.asgi_scope import get_route_path


class PathIndex(BaseRoute):
    """Finds the busiest routes by their path, before FastAPI tries one route after the other, which takes 30 to 40 µs.

    FastAPI routes what is not found here: other methods, everything while a dependency is overridden, and everything
    while its telemetry is on, which is told of a route in a way of FastAPI's own.
    """

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        posts = [route for route in routes if isinstance(route, APIRoute) and route.methods == {"POST"}]
        self._routes = {route.path: route for route in posts}

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether the request is for one of the routes."""
        route = None
        if scope["type"] == "http" and scope["method"] == "POST" and "fastapi.telemetry" not in scope:
            route = self._routes.get(get_route_path(scope))
        if route is None or scope["app"].dependency_overrides:
            return Match.NONE, {}
        return Match.FULL, {"route": route, "endpoint": route.endpoint, "path_params": {}}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        await scope["route"].handle(scope, receive, send)

from fastapi import APIRouter
from starlette.types import Receive, Scope, Send

from routers.asgi_scope import get_route_path, pass_route_on


class TrailingSlashFallback:
    """Router default that matches a path again without its trailing slash.

    A redirect would lose the body or method with some clients, and have the wrong address behind a proxy.
    """

    def __init__(self, router: APIRouter) -> None:
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        path = get_route_path(scope)
        if scope["type"] == "http" and path.endswith("/") and path.strip("/"):
            inner = {**scope, "path": scope["path"].removesuffix("/")}
            if not get_route_path(inner).endswith("/"):
                try:
                    await self._router.app(inner, receive, send)
                finally:
                    pass_route_on(inner, scope)
                return
        await self._router.not_found(scope, receive, send)

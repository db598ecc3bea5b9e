from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from server.observability.metrics import Metrics

PATH = "/metrics"


def metrics_router(metrics: Metrics) -> APIRouter:
    """Return the router of `/metrics`."""
    router = APIRouter(include_in_schema=False)

    @router.get(PATH)
    async def read_metrics(request: Request) -> Response:
        content, media_type = await metrics.render(request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": media_type, "Cache-Control": "no-store"})

    return router

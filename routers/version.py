from dataclasses import asdict

from fastapi import APIRouter
from starlette.responses import JSONResponse

from routers.dependencies import OllamaServiceDep
from routers.openapi import response_examples
from routers.openapi.schema import problems, success_response
from routers.schemas.health import Build
from server.build_info import build_info

PATH = "/version"

router = APIRouter(tags=["health"])


@router.get(
    PATH,
    summary="Tell what runs",
    response_model=Build,
    responses=success_response("What runs.", response_examples.VERSION) | problems("unauthorized", "host_not_allowed"),
)
async def version(service: OllamaServiceDep) -> JSONResponse:
    """Tell the version, the commit it was built from, and the versions of Python and the libraries.

    `/health` tells the same as `build`, without a key.
    """
    return JSONResponse(asdict(build_info(service.settings.build_commit)))

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
    summary="Get the version",
    response_model=Build,
    responses=success_response("The versions.", response_examples.VERSION)
    | problems("unauthorized", "host_not_allowed"),
)
async def version(service: OllamaServiceDep) -> JSONResponse:
    """Return the version and commit of the service, and the versions of Python and the libraries.

    `build` in `/health` has the same content, without an API key.
    """
    return JSONResponse(asdict(build_info(service.settings.build_commit)))

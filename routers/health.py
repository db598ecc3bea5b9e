"""Health, readiness and liveness probes."""

import asyncio
import time
from dataclasses import asdict
from datetime import UTC, datetime

from fastapi import APIRouter
from starlette.responses import JSONResponse

from routers.dependencies import ComponentChecksDep, OllamaServiceDep, ShutdownDep
from routers.openapi import response_examples
from routers.openapi.schema import success_response
from routers.schemas.health import HealthResponse, Liveness, Readiness
from server.build_info import build_info
from services.ollama.errors import OllamaError
from services.ollama_service import OllamaService
from services.upstream import Health

OPEN_PATHS = frozenset({"/health", "/health/ready", "/health/live"})

router = APIRouter(prefix="/health", tags=["health"])


@router.get(
    "",
    summary="Health",
    response_model=HealthResponse,
    responses=success_response("Everything is up.", response_examples.HEALTHY)
    | {
        503: {
            "model": HealthResponse,
            "description": "Ollama or another component is down.",
            "content": {"application/json": {"examples": response_examples.DEGRADED}},
        }
    },
)
async def health(service: OllamaServiceDep, checks: ComponentChecksDep) -> JSONResponse:
    """Return the state of the service, Ollama and other components. No model is loaded.

    A configured model that is not installed is reported as `false` and does not make the service unhealthy.
    `last_success_at` and `last_failure_at` are about the generations, chats and embeddings of this process: an Ollama
    that is stuck may still respond to probes. A registered component has its own words in `services`; one that is down
    makes the status `degraded`.
    `stuck_models` are those that hung after a request was cut off, and what was done; they do not make the service
    unhealthy.
    """
    ollama, models, components = await asyncio.gather(_ollama(service), service.configured_models(), checks.run())
    is_healthy = ollama is not None and all(component.is_up for component in components.values())
    running, queued = await service.queue_stats()
    outcomes = await service.outcomes()
    stuck = await service.stuck_models()
    content = {
        "status": "healthy" if is_healthy else "degraded",
        "services": {"ollama": "down" if ollama is None else "up"}
        | {name: component.word for name, component in components.items()},
        "ollama": {
            "version": ollama and ollama.version,
            "latency_ms": ollama and ollama.latency_ms,
            "models": models,
            "running": running,
            "queued": queued,
            "last_success_at": _rfc3339(outcomes.last_success),
            "last_failure_at": _rfc3339(outcomes.last_failure),
            "last_failure_code": outcomes.last_failure_code,
            "stuck_models": [
                {
                    "model": report.model,
                    "state": report.state,
                    "noticed_at": _rfc3339(report.noticed_at),
                    "reloads": report.reloads,
                    "reloaded_at": _rfc3339(report.reloaded_at),
                }
                for report in stuck
            ],
        },
        "build": asdict(build_info(service.settings.build_commit)),
        "checked_at": _rfc3339(time.time()),
    }
    return JSONResponse(content, 200 if is_healthy else 503)


@router.get(
    "/ready",
    summary="Readiness",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "Ollama does not respond, or the service is shutting down."}},
)
async def ready(service: OllamaServiceDep, shutdown: ShutdownDep) -> JSONResponse:
    """Return whether the service is ready for requests: Ollama responds, and the service is not shutting down.

    With `READINESS_REQUIRES_OLLAMA=false` Ollama does not count.
    """
    requires_ollama = service.settings.readiness_requires_ollama
    is_ready = not shutdown.is_draining and (not requires_ollama or await service.health_check())
    return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)


@router.get("/live", summary="Liveness", response_model=Liveness)
async def live() -> JSONResponse:
    """Return that the process is alive; does not contact Ollama."""
    return JSONResponse({"alive": True})


async def _ollama(service: OllamaService) -> Health | None:
    try:
        return await service.health()
    except OllamaError:
        return None


def _rfc3339(timestamp: float | None) -> str | None:
    return None if timestamp is None else datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds")

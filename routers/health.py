"""Probes: is the service alive, is it ready, and how is what it needs."""

import asyncio
import time
from datetime import UTC, datetime

from fastapi import APIRouter
from starlette.responses import JSONResponse

from routers.dependencies import ComponentChecksDep, OllamaServiceDep, ShutdownDep
from routers.openapi import response_examples
from routers.openapi.schema import success_response
from routers.schemas.health import HealthResponse, Liveness, Readiness
from services.ollama.errors import OllamaError
from services.ollama_service import OllamaService
from services.upstream import Health

OPEN_PATHS = frozenset({"/health", "/health/ready", "/health/live"})

router = APIRouter(prefix="/health", tags=["health"])


@router.get(
    "",
    summary="Report on the service",
    response_model=HealthResponse,
    responses=success_response("All is well.", response_examples.HEALTHY)
    | {
        503: {
            "model": HealthResponse,
            "description": "Something that the service needs is down.",
            "content": {"application/json": {"examples": response_examples.DEGRADED}},
        }
    },
)
async def health(service: OllamaServiceDep, checks: ComponentChecksDep) -> JSONResponse:
    """Report on the service, on Ollama and on what else it needs; loads no model.

    A configured model that is not installed shows as `false` and does not make the service unhealthy.
    `last_success_at` and `last_failure_at` tell of the requests that this process sent to Ollama: one that is stuck
    answers the probe, and no request. `stuck_models` are those that hung after a request was cut off, and what was
    done about it; they do not make the service unhealthy.
    """
    ollama, models, components = await asyncio.gather(_ollama(service), service.configured_models(), checks.run())
    up = {"ollama": ollama is not None, **components}
    running, queued = await service.queue_stats()
    outcomes = await service.outcomes()
    stuck = await service.stuck_models()
    content = {
        "status": "healthy" if all(up.values()) else "degraded",
        "services": {name: "up" if is_up else "down" for name, is_up in up.items()},
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
        "checked_at": _rfc3339(time.time()),
    }
    return JSONResponse(content, 200 if all(up.values()) else 503)


@router.get(
    "/ready",
    summary="Tell whether requests should be sent here",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "Ollama does not answer, or the service is ending."}},
)
async def ready(service: OllamaServiceDep, shutdown: ShutdownDep) -> JSONResponse:
    """Tell whether requests should be sent here: Ollama answers, and the service is not about to end."""
    is_ready = not shutdown.is_draining and await service.health_check()
    return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)


@router.get("/live", summary="Tell that the process runs", response_model=Liveness)
async def live() -> JSONResponse:
    """Tell that the process runs; touches nothing, not even Ollama."""
    return JSONResponse({"alive": True})


async def _ollama(service: OllamaService) -> Health | None:
    try:
        return await service.health()
    except OllamaError:
        return None


def _rfc3339(timestamp: float | None) -> str | None:
    return None if timestamp is None else datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds")

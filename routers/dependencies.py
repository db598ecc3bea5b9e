from typing import Annotated

from fastapi import Depends, Request

from server.shutdown import Shutdown
from services.components import ComponentChecks
from services.ollama_service import OllamaService


async def get_ollama_service(request: Request) -> OllamaService:
    """Return the app's Ollama service."""
    service: OllamaService = request.app.state.ollama_service
    return service


async def get_shutdown(request: Request) -> Shutdown:
    """Return the app's graceful shutdown."""
    shutdown: Shutdown = request.app.state.shutdown
    return shutdown


async def get_component_checks(request: Request) -> ComponentChecks:
    """Return the health checks of components other than Ollama."""
    checks: ComponentChecks = request.app.state.component_checks
    return checks


OllamaServiceDep = Annotated[OllamaService, Depends(get_ollama_service)]
ShutdownDep = Annotated[Shutdown, Depends(get_shutdown)]
ComponentChecksDep = Annotated[ComponentChecks, Depends(get_component_checks)]

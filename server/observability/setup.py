"""Connects metrics and tracing to the service."""

from server.build_info import build_info
from server.observability.metrics import Metrics
from server.observability.shared_metrics import shared_directory
from server.observability.tracing import Tracing, has_sdk
from services.ollama_service import OllamaService


def observe(service: OllamaService) -> Metrics | None:
    """Record the calls of models: as spans if OpenTelemetry's SDK is installed, and as metrics if they are enabled.

    Returns:
        The metrics; None if the settings disable them.
    """
    settings = service.settings
    tracing = Tracing(settings.ollama_base_url) if has_sdk() else None
    metrics = None
    if settings.metrics_enabled:
        metrics = Metrics(service.stats, build=build_info(settings.build_commit), shared=shared_directory())
    service.observers = tuple(observer.observe_operation for observer in (tracing, metrics) if observer is not None)
    return metrics

"""Prometheus metrics: requests by OpenTelemetry's HTTP conventions, calls of models by its GenAI conventions.

https://opentelemetry.io/docs/specs/semconv/http/http-metrics/ and https://opentelemetry.io/docs/specs/semconv/gen-ai/,
with the names in Prometheus' form. The values of labels are bounded whatever clients send: they are routes, not paths,
and installed models.
"""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from starlette.types import Scope

from server.build_info import BuildInfo
from server.observability.operation_metrics import OTHER, PREFIX, OperationMetrics
from server.observability.pooled_histogram import PooledHistogram
from server.observability.request_log import Outcome
from services.operation import Operation
from services.upstream import ServiceStats

METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})

# The buckets of the convention, extended to the five minutes that a response may take.
HTTP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 120, 300)

HTTP_LABELS = ("http_request_method", "http_route", "http_response_status_code", "error_type", "outcome")

FLUSH_SECONDS = 1.0
"""Interval at which a server process shares its metrics with the others."""


class Metrics:
    """Counts requests and operations, and renders them in Prometheus' format.

    Args:
        stats: Returns the state of the service for the gauges.
        build: The versions for `ollama_service_build_info`.
        shared: The directory in which several server processes share their metrics; None if there is one process.
    """

    def __init__(self, stats: Callable[[], ServiceStats], *, build: BuildInfo, shared: Path | None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # one more series for each counter and histogram
        self._stats = stats
        self._shared = shared
        self._lock = threading.Lock()  # operations may run in event loops of other threads
        self._registry = CollectorRegistry()
        self._make_counters()
        self._make_gauges()
        self._show_build(build)
        if shared is None:
            ProcessCollector(registry=self._registry)

    def _make_counters(self) -> None:
        self._requests = PooledHistogram(
            "http_server_request_duration_seconds",
            "Duration of HTTP requests, until the end of the response.",
            HTTP_LABELS,
            buckets=HTTP_SECONDS,
            registry=self._registry,
        )
        self._operations = OperationMetrics(self._registry)
        self._reloads = Counter(
            f"{PREFIX}model_reloads", "Unloads of a model that hung, to free it.", registry=self._registry
        )
        self._reloads_counted = 0
        self._rejected_heads = Counter(
            f"{PREFIX}rejected_heads",
            "Requests rejected before they had a route, as their head was malformed, too large or too slow.",
            ("http_response_status_code", "error_type"),
            registry=self._registry,
        )

    def _make_gauges(self) -> None:
        def gauge(name: str, help_: str, mode: Any) -> Gauge:
            return Gauge(f"{PREFIX}{name}", help_, registry=self._registry, multiprocess_mode=mode)

        self._gauges: list[tuple[Gauge, Callable[[ServiceStats], float | None]]] = [
            (gauge(name, help_, mode), value)
            for name, help_, mode, value in (
                ("requests_running", "Requests running in Ollama.", "livesum", lambda it: it.running),
                ("requests_queued", "Requests waiting for a slot.", "livesum", lambda it: it.queued),
                ("running_limit", "Maximum of running requests.", "livesum", lambda it: it.slots),
                ("queue_limit", "Maximum of queued requests.", "livesum", lambda it: it.queue_size),
                (
                    "ollama_up",
                    "Whether the last connection to Ollama succeeded.",
                    "livemin",
                    lambda it: it.is_reachable,
                ),
                (
                    "circuit_breaker_open",
                    "Whether requests are rejected because Ollama could not be reached.",
                    "livemax",
                    lambda it: it.is_circuit_open,
                ),
                (
                    "model_list_age_seconds",
                    "Age of the model list, 0 if there is none.",
                    "livemax",
                    lambda it: it.model_list_age,
                ),
                ("stuck_models", "Models that hang.", "livesum", lambda it: it.stuck_models),
                ("models_installed", "Models in the model list.", "livemax", lambda it: it.models),
                (
                    "last_success_timestamp_seconds",
                    "When a model last responded, as Unix time; 0 if none has.",
                    "livemax",
                    lambda it: it.last_success,
                ),
            )
        ]

    def _show_build(self, build: BuildInfo) -> None:
        labels = {"version": build.version, "commit": build.commit or "", "python": build.python, **build.libraries}
        info = Gauge(
            f"{PREFIX}build_info",
            "Version, commit, Python and libraries.",
            list(labels),
            registry=self._registry,
            multiprocess_mode="livemax",
        )
        info.labels(**labels).set(1)

    def observe_request(self, scope: Scope, status: int, outcome: Outcome, error: str | None, seconds: float) -> None:
        """Count a finished HTTP request; `error` is its error code."""
        method = scope["method"]
        route = scope.get("route")
        path: str = getattr(route, "path_format", "") or getattr(route, "path", "")
        with self._lock:
            self._requests.at(
                method if method in METHODS else OTHER,
                path,
                str(status),
                error or "",
                outcome,
            ).observe(seconds)

    def observe_rejected_head(self, status: int, error: str) -> None:
        """Count a request whose head could not be read; it is not in the HTTP requests, as it has no method or path."""
        with self._lock:
            self._rejected_heads.labels(str(status), error).inc()

    def observe_operation(self, operation: Operation) -> None:
        """Count a finished call of a model."""
        with self._lock:
            self._operations.observe(operation)

    async def render(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics and their media type, in the format that the scraper accepts."""
        self._flush()
        encode, media_type = choose_encoder(accept)
        registry = self._registry if self._shared is None else self._registry_of_all(self._shared)
        # In a thread, as thousands of series take several milliseconds.
        return await asyncio.to_thread(encode, registry), media_type

    def _registry_of_all(self, shared: Path) -> CollectorRegistry:
        _forget_dead_processes(shared)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(shared))  # type: ignore[no-untyped-call]
        return registry

    def _flush(self) -> None:
        stats = self._stats()
        with self._lock:
            for gauge, value in self._gauges:
                gauge.set(float(value(stats) or 0))
            # An event loop that has ended takes its count along.
            self._reloads.inc(max(stats.model_reloads - self._reloads_counted, 0))
            self._reloads_counted = stats.model_reloads
            self._requests.flush()
            self._operations.flush()

    @asynccontextmanager
    async def shared_in_background(self) -> AsyncIterator[None]:
        """Share the metrics with the other server processes at intervals; a no-op if there is one process."""
        if self._shared is None:
            yield
            return
        task = asyncio.create_task(self._flush_regularly())
        try:
            yield
        finally:
            task.cancel()
            self._flush()
            mark_process_dead(os.getpid(), str(self._shared))  # type: ignore[no-untyped-call]

    async def _flush_regularly(self) -> None:
        while True:
            self._flush()
            await asyncio.sleep(FLUSH_SECONDS)


def _forget_dead_processes(shared: Path) -> None:
    """Remove the gauges of killed processes; their counters remain."""
    if sys.platform == "win32":  # where os.kill ends the process
        return
    for pid in {int(path.stem.rpartition("_")[2]) for path in shared.glob("gauge_live*_*.db")}:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            with suppress(FileNotFoundError):  # another process was quicker
                mark_process_dead(pid, str(shared))  # type: ignore[no-untyped-call]
        except PermissionError:
            continue

"""Spans of calls of models by OpenTelemetry's GenAI conventions, beside FastAPI's own span of a request.

FastAPI's telemetry sets up the exporters; if it is off, or no SDK is installed, nothing is done here. Spans are created
when a call has ended, from its `Operation`. They contain no prompts and no responses.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
"""

import time
from importlib.util import find_spec
from urllib.parse import urlsplit

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from server.build_info import VERSION
from services.operation import CANCELLED, Operation

NANOSECONDS = 1_000_000_000
NOT_CONFIGURED = (trace.ProxyTracerProvider, trace.NoOpTracerProvider)
# Looking for a telemetry provider costs 8 µs per request, and without the OpenTelemetry SDK there is none.
NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}


def has_sdk() -> bool:
    """Return whether OpenTelemetry's SDK is installed."""
    return find_spec("opentelemetry.sdk") is not None


def telemetry_config() -> TelemetryConfig:
    """Return FastAPI's telemetry configuration: the defaults, or all off if no SDK is installed."""
    return {} if has_sdk() else NO_TELEMETRY


class Tracing:
    """Creates a client span for each call of a model, with a child span for its time in the queue."""

    def __init__(self, base_url: str) -> None:
        address = urlsplit(base_url)
        self._server: dict[str, AttributeValue] = {
            "server.address": address.hostname or "",
            "server.port": address.port or 0,
        }

    def observe_operation(self, operation: Operation) -> None:
        """Create the spans of a finished call, as children of the current request's span."""
        provider = trace.get_tracer_provider()
        if isinstance(provider, NOT_CONFIGURED):
            return  # not configured
        tracer = provider.get_tracer("ollama-service", VERSION)
        offset = time.time_ns() - round(time.monotonic() * NANOSECONDS)

        def wall_clock(at: float) -> int:
            return offset + round(at * NANOSECONDS)

        span = tracer.start_span(
            f"{operation.name} {operation.requested_model}" if operation.requested_model else operation.name,
            kind=SpanKind.CLIENT,
            attributes=self._server | _attributes(operation),
            start_time=wall_clock(operation.begun_at),
        )
        if operation.queue_seconds is not None:
            ended_at = operation.sent_at or operation.ended_at
            queue = tracer.start_span(
                "queue",
                context=trace.set_span_in_context(span),
                start_time=wall_clock(ended_at - operation.queue_seconds),
            )
            queue.end(wall_clock(ended_at))
        if operation.error is not None and operation.error != CANCELLED:
            span.set_status(StatusCode.ERROR)
        span.end(wall_clock(operation.ended_at))


def _attributes(operation: Operation) -> dict[str, AttributeValue]:
    waited = None
    if operation.first_chunk_at is not None and operation.sent_at is not None:
        waited = operation.first_chunk_at - operation.sent_at
    attributes: dict[str, AttributeValue | None] = {
        "gen_ai.operation.name": operation.name,
        "gen_ai.provider.name": "ollama",
        "gen_ai.request.model": operation.requested_model,
        "gen_ai.request.stream": waited is not None or None,
        "gen_ai.response.model": operation.model if operation.is_whole or waited is not None else None,
        "gen_ai.response.finish_reasons": [operation.finish_reason] if operation.finish_reason else None,
        "gen_ai.response.time_to_first_chunk": waited,
        "gen_ai.usage.input_tokens": operation.input_tokens,
        "gen_ai.usage.output_tokens": operation.output_tokens,
        "ollama_service.attempts": operation.attempts,
        "ollama_service.fallback": operation.fallback,
        "error.type": operation.error,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def current_trace_id() -> str | None:
    """Return the trace id of the current request, or None if it is not traced."""
    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None

"""Metrics of calls of models, by OpenTelemetry's GenAI conventions with the names in Prometheus' form.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
"""

from functools import cached_property

from prometheus_client import CollectorRegistry, Counter

from server.observability.pooled_histogram import PooledHistogram
from services.operation import Operation

PREFIX = "ollama_service_"
OTHER = "_OTHER"
"""OpenTelemetry's label value for anything outside the known values."""
PROVIDER = "ollama"
MODEL_LABELS = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_response_model")

# The buckets of the conventions, extended to the five minutes that a response may take.
OPERATION_SECONDS = tuple(0.01 * 2**n for n in range(16))
TOKENS = tuple(4**n for n in range(14))
SECONDS_PER_TOKEN = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
QUEUE_SECONDS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120)

Labels = tuple[str, str, str, str]


class OperationMetrics:
    """Counts calls of models. Not thread-safe: callers hold a lock."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, help_: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> PooledHistogram:
            return PooledHistogram(name, help_, labels, buckets=buckets, registry=registry)

        self.durations = histogram(
            "gen_ai_client_operation_duration_seconds",
            "Duration of calls of models in Ollama, without the time in the queue.",
            (*MODEL_LABELS, "error_type"),
            OPERATION_SECONDS,
        )
        self.first_chunks = histogram(
            "gen_ai_client_operation_time_to_first_chunk_seconds",
            "Time to the first chunk of a stream, without the time in the queue.",
            MODEL_LABELS,
            OPERATION_SECONDS,
        )
        self.first_tokens = histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "Time to the first token of streams and complete responses, without the time in the queue.",
            MODEL_LABELS,
            OPERATION_SECONDS,
        )
        self.tokens = histogram(
            "gen_ai_client_token_usage",
            "Tokens of a call, as counted by Ollama.",
            (*MODEL_LABELS, "gen_ai_token_type"),
            TOKENS,
        )
        self.token_times = histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Time per output token, as measured by Ollama.",
            MODEL_LABELS,
            SECONDS_PER_TOKEN,
        )
        self._queue_waits = histogram(
            f"{PREFIX}queue_wait_seconds", "Time in the queue, including requests that got no slot.", (), QUEUE_SECONDS
        )
        self._fallbacks = Counter(
            f"{PREFIX}fallbacks",
            "Responses of the default model in place of the requested one.",
            ("gen_ai_response_model",),
            registry=registry,
        )
        self._retries = Counter(
            f"{PREFIX}retries", "Second and further attempts to send a request to Ollama.", registry=registry
        )
        self._series: dict[Labels, _ModelSeries] = {}

    def observe(self, operation: Operation) -> None:
        """Count a finished call."""
        if operation.queue_seconds is not None:
            self._queue_waits.observe(operation.queue_seconds)
        sent_at = operation.sent_at
        if sent_at is None:
            return  # nothing was sent to Ollama
        has_answered = operation.is_whole or operation.first_chunk_at is not None
        labels = (
            operation.name,
            PROVIDER,
            operation.known_requested_model or OTHER,
            (operation.known_model or OTHER) if has_answered else "",
        )
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = _ModelSeries(self, labels)
        seconds = operation.ended_at - sent_at
        series.duration(operation.error).observe(seconds)
        output_seconds, output_tokens = operation.output_seconds, operation.output_tokens
        if operation.first_chunk_at is not None:
            waited = operation.first_chunk_at - sent_at
            series.first_chunks.observe(waited)
            series.first_tokens.observe(waited)
        elif output_seconds is not None:
            series.first_tokens.observe(max(seconds - output_seconds, 0))
        if operation.input_tokens is not None:
            series.input_tokens.observe(operation.input_tokens)
        if output_tokens is not None:
            series.output_tokens.observe(output_tokens)
            if output_tokens and output_seconds is not None:
                series.token_times.observe(output_seconds / output_tokens)
        if operation.fallback and has_answered:
            self._fallbacks.labels(labels[-1]).inc()
        if operation.retries:
            self._retries.inc(operation.retries)

    def flush(self) -> None:
        """Add what was counted since the last flush to prometheus-client's values."""
        for histogram in (
            self.durations,
            self.first_chunks,
            self.first_tokens,
            self.tokens,
            self.token_times,
            self._queue_waits,
        ):
            histogram.flush()


class _ModelSeries:
    """The histograms with the same model labels. Each exists once it is used, and one lookup finds them all."""

    def __init__(self, metrics: OperationMetrics, labels: Labels) -> None:
        self._metrics = metrics
        self._labels = labels
        self._durations: dict[str | None, PooledHistogram] = {}

    def duration(self, error: str | None) -> PooledHistogram:
        found = self._durations.get(error)
        if found is None:
            found = self._durations[error] = self._metrics.durations.at(*self._labels, error or "")
        return found

    @cached_property
    def first_chunks(self) -> PooledHistogram:
        return self._metrics.first_chunks.at(*self._labels)

    @cached_property
    def first_tokens(self) -> PooledHistogram:
        return self._metrics.first_tokens.at(*self._labels)

    @cached_property
    def input_tokens(self) -> PooledHistogram:
        return self._metrics.tokens.at(*self._labels, "input")

    @cached_property
    def output_tokens(self) -> PooledHistogram:
        return self._metrics.tokens.at(*self._labels, "output")

    @cached_property
    def token_times(self) -> PooledHistogram:
        return self._metrics.token_times.at(*self._labels)

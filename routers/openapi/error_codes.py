"""Error codes by kind of endpoint, for the OpenAPI description."""

LIST_CODES = (
    "bad_request",
    "unauthorized",
    "host_not_allowed",
    "request_timeout",
    "invalid_request",
    "headers_too_large",
    "internal_error",
    "ollama_error",
    "ollama_unavailable",
    "timeout",
)
"""Of endpoints that list models."""
MODEL_CODES = (
    "bad_request",
    "rejected_by_ollama",
    "unsupported_by_model",
    "unauthorized",
    "model_not_found",
    "request_timeout",
    "host_not_allowed",
    "payload_too_large",
    "unsupported_media_type",
    "invalid_request",
    "headers_too_large",
    "internal_error",
    "ollama_error",
    "ollama_unavailable",
    "ollama_busy",
    "model_stuck",
    "overloaded",
    "shutting_down",
    "timeout",
)
"""Of endpoints that run a model."""

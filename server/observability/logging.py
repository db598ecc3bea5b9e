"""Logging setup: one format, text or JSON, for the log lines of the service and uvicorn."""

import logging
import time
from datetime import UTC, datetime
from typing import Any

import orjson

from config import Settings
from server.observability.request_log import RequestLine, request_id, request_notes

TEXT = "%(asctime)s %(levelname)-7s [%(request_id)s] %(message)s"
INCOMPLETE_RESPONSE = "ASGI callable returned without completing response."  # intended, and in our request log


class TextFormatter(logging.Formatter):
    """Formats a record as text; the formatted time is cached for a second, which saves 2 µs per line."""

    def __init__(self) -> None:
        super().__init__(TEXT)
        self._second = (0, "")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        """Return the local time with milliseconds."""
        second = int(record.created)
        if self._second[0] != second:
            self._second = (second, time.strftime(datefmt or self.default_time_format, time.localtime(second)))
        return f"{self._second[1]},{int(record.msecs):03d}"


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        request = record.msg if isinstance(record.msg, RequestLine) else None
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage() if request is None else request.summary,
            "request_id": request_id.get(),
        }
        if request is not None:
            line |= request
        elif (notes := request_notes.get()) is not None and notes.trace_id is not None:
            line["trace_id"] = notes.trace_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class _Handler(logging.StreamHandler[Any]):
    """Writes to stderr; its type identifies it, so that it is added only once."""


def configure_logging(settings: Settings) -> None:
    """Configure the root logger and those of uvicorn to write to stderr; may be called again."""
    root = logging.getLogger()
    handler = next((handler for handler in root.handlers if isinstance(handler, _Handler)), None)
    if handler is None:
        handler = _Handler()
        handler.addFilter(_add_request_id)
        root.addHandler(handler)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    root.setLevel(settings.log_level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        server = logging.getLogger(name)
        server.handlers.clear()
        server.propagate = True
    logging.getLogger("uvicorn.access").disabled = True  # replaced by `server.observability.request_log`
    logging.getLogger("uvicorn.error").addFilter(_is_not_incomplete_response)


def _add_request_id(record: logging.LogRecord) -> bool:
    record.request_id = request_id.get()
    return True


def _is_not_incomplete_response(record: logging.LogRecord) -> bool:
    return record.msg != INCOMPLETE_RESPONSE

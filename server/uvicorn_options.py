"""Options for uvicorn, shared by `python main.py` and the tests."""

from typing import Any

from server.http_protocol import HttpProtocol

KEEP_ALIVE_SECONDS = 75  # longer than that of common proxies, so that the proxy closes idle connections
WORKER_START_SECONDS = 60  # uvicorn kills a worker process that takes longer to start
FORCED_CLOSE_SECONDS = 5  # for requests that are still open after the grace period

UVICORN_OPTIONS: dict[str, Any] = {
    "http": HttpProtocol,
    "ws": "none",
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "timeout_keep_alive": KEEP_ALIVE_SECONDS,
    "timeout_graceful_shutdown": FORCED_CLOSE_SECONDS,
    "timeout_worker_healthcheck": WORKER_START_SECONDS,
}

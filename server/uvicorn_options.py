"""How uvicorn serves the app: the same for `python main.py` and for tests."""

from typing import Any

from server.http_protocol import HttpProtocol

KEEP_ALIVE_SECONDS = 75  # longer than the proxies in front, so that they are the ones to close
WORKER_START_SECONDS = 60  # uvicorn ends a process that takes longer to start, and then the next one
FORCED_CLOSE_SECONDS = 5  # for what is left when the time of grace is over

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

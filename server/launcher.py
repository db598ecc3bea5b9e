"""Launcher of `make run`: starts the service, with the built-in simulator if no Ollama is running."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import NoReturn

from config import Settings, get_settings
from server.listening import listen_problem

BANNER = """
  ╔══════════════════════════════════════════════════════════════════════╗
  ║   S I M U L A T O R   —   no Ollama runs at {address:<25}║
  ║   All responses are made up by a built-in simulator, not a model.    ║
  ║   For real ones start Ollama or set OLLAMA_BASE_URL, then rerun.     ║
  ╚══════════════════════════════════════════════════════════════════════╝
"""
ROOT = Path(__file__).parent.parent
PROBE_SECONDS = 2.0
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # without a proxy, as the service connects
SIMULATOR_START_SECONDS = 10.0


def become_service(environment: dict[str, str]) -> NoReturn:
    """Replace this process with the service."""
    os.execve(sys.executable, [sys.executable, str(ROOT / "main.py")], environment)


def main() -> int:
    """Start the service; return an exit code if that fails.

    The service replaces this process, so that it receives signals and SIGHUP and its exit code is reported. It inherits
    the pipe to the simulator's standard input; when it ends the pipe closes, and the simulator exits.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # exit on Ctrl-C without a traceback
    settings = get_settings()
    if problem := listen_problem(settings.host, settings.port):
        print(problem)
        return 1
    environment = dict(os.environ)
    if settings.web_concurrency > 1:
        print("Ignoring WEB_CONCURRENCY: it only applies to `python main.py`.", flush=True)
        environment["WEB_CONCURRENCY"] = "1"
    is_configured = "ollama_base_url" in settings.model_fields_set
    if not is_configured and not is_ollama_running(settings.ollama_base_url):
        url = start_simulator(settings)
        if url is None:
            print("The simulator could not be started.")
            return 1
        environment["OLLAMA_BASE_URL"] = url
    become_service(environment)


def is_ollama_running(base_url: str) -> bool:
    """Return whether Ollama responds at this URL, connecting without a proxy as the service does."""
    try:
        with DIRECT.open(f"{base_url}/api/version", timeout=PROBE_SECONDS):
            return True
    except (OSError, http.client.HTTPException):
        return False


def start_simulator(settings: Settings) -> str | None:
    """Start the simulator on a free port and return its URL, or None if it does not start; it ends with this process.

    It gets its own session, so that Ctrl-C does not stop it while the service still drains requests.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "simulator", "--port", str(port), "--seconds-per-token", "0.03"]
    process = subprocess.Popen(
        [*command, "--until-stdin-closes"], cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None  # noqa: S101 - stdin=PIPE
    os.set_inheritable(process.stdin.fileno(), True)
    url = f"http://127.0.0.1:{port}"
    give_up_at = time.monotonic() + SIMULATOR_START_SECONDS
    while not is_ollama_running(url):
        if process.poll() is not None or time.monotonic() > give_up_at:
            return None
        time.sleep(0.05)
    print(BANNER.format(address=settings.ollama_base_url.removeprefix("http://")), flush=True)
    return url


if __name__ == "__main__":
    sys.exit(main())

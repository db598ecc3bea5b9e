"""Starts the service for a person: in front of an Ollama if there is one, else of the built-in simulator."""

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
  ║   S I M U L A T O R   —   no Ollama answers at {address:<22}║
  ║   Every answer is made up by a built-in stand-in, not by a model.    ║
  ║   For real answers start Ollama, or set OLLAMA_BASE_URL, and rerun.  ║
  ╚══════════════════════════════════════════════════════════════════════╝
"""
ROOT = Path(__file__).parent.parent
PROBE_SECONDS = 2.0
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # past any proxy, as the service itself
SIMULATOR_START_SECONDS = 10.0


def become_service(environment: dict[str, str]) -> NoReturn:
    """Replace this process by the service."""
    os.execve(sys.executable, [sys.executable, str(ROOT / "main.py")], environment)


def main() -> int:
    """Become the service; return an exit code if it cannot be started.

    The service takes the place of this process, so that signals, a closed terminal and its exit code are its own. The
    simulator ends when its standard input does, of which this process has the other end.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    settings = get_settings()
    if problem := listen_problem(settings.host, settings.port):
        print(problem)
        return 1
    environment = dict(os.environ)
    if settings.web_concurrency > 1:
        print("One process serves here; WEB_CONCURRENCY is for `python main.py`.", flush=True)
        environment["WEB_CONCURRENCY"] = "1"
    is_named = "ollama_base_url" in settings.model_fields_set
    if not is_named and not answers(settings.ollama_base_url):
        url = start_simulator(settings)
        if url is None:
            print("The simulator could not be started.")
            return 1
        environment["OLLAMA_BASE_URL"] = url
    become_service(environment)


def answers(base_url: str) -> bool:
    """Tell whether an Ollama answers there; it is asked without a proxy, as the service does."""
    try:
        with DIRECT.open(f"{base_url}/api/version", timeout=PROBE_SECONDS):
            return True
    except (OSError, http.client.HTTPException):
        return False


def start_simulator(settings: Settings) -> str | None:
    """Start the simulator on a free port, and return its address; it ends with this process.

    It has a session of its own: the terminal's Ctrl-C is for the service, which may still need it.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "simulator", "--port", str(port), "--seconds-per-token", "0.03"]
    process = subprocess.Popen(
        [*command, "--until-stdin-closes"], cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    os.set_inheritable(process.stdin.fileno(), True)
    url = f"http://127.0.0.1:{port}"
    give_up_at = time.monotonic() + SIMULATOR_START_SECONDS
    while not answers(url):
        if process.poll() is not None or time.monotonic() > give_up_at:
            return None
        time.sleep(0.05)
    print(BANNER.format(address=settings.ollama_base_url.removeprefix("http://")), flush=True)
    return url


if __name__ == "__main__":
    sys.exit(main())

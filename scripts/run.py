"""Starts the service for a person: in front of an Ollama if there is one, else of the built-in simulator."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from config import Settings, get_settings

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


def main() -> int:
    """Run until the service ends, and return its exit code."""
    settings = get_settings()
    if not port_is_free(settings):
        print(f"Port {settings.port} of {settings.host} is in use. Free it, or choose another: PORT=8001 make run")
        return 1
    is_named = "ollama_base_url" in settings.model_fields_set
    simulator = None if is_named or answers(settings.ollama_base_url) else start_simulator(settings)
    environment = dict(os.environ)
    if simulator is not None:
        process, url = simulator
        environment["OLLAMA_BASE_URL"] = url
    service = subprocess.Popen([sys.executable, str(ROOT / "main.py")], env=environment)
    signal.signal(signal.SIGTERM, lambda received, _: service.send_signal(received))
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches the service by itself
    try:
        return service.wait()
    finally:
        if simulator is not None:
            process.terminate()
            process.wait()


def port_is_free(settings: Settings) -> bool:
    """Tell whether the service can listen where it should."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError:
            return False
    return True


def answers(base_url: str) -> bool:
    """Tell whether an Ollama answers there."""
    try:
        with DIRECT.open(f"{base_url}/api/version", timeout=PROBE_SECONDS):
            return True
    except (OSError, urllib.error.URLError):
        return False


def start_simulator(settings: Settings) -> tuple[subprocess.Popen[bytes], str]:
    """Start the simulator on a free port, out of reach of the terminal's Ctrl-C; it ends with the service."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "simulator", "--port", str(port), "--seconds-per-token", "0.03"]
    process = subprocess.Popen(command, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    give_up_at = time.monotonic() + SIMULATOR_START_SECONDS
    while not answers(url) and process.poll() is None and time.monotonic() < give_up_at:
        time.sleep(0.05)
    print(BANNER.format(address=settings.ollama_base_url.removeprefix("http://")), flush=True)
    return process, url


if __name__ == "__main__":
    sys.exit(main())

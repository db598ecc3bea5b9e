"""The programs to compare: how each is started, and the requests it gets."""

import asyncio
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.client import Target, send_once
from benchmarks.upstream import BURST_TOKENS

PROJECT_ROOT = Path(__file__).resolve().parent.parent
UVICORN = [sys.executable, "-m", "uvicorn", "--app-dir", str(PROJECT_ROOT), "--no-access-log", "--log-level", "warning"]
SERVICE = [sys.executable, str(PROJECT_ROOT / "main.py")]
APPLICATIONS = {
    "service": SERVICE,
    "native": SERVICE,  # measured through Ollama's own API
    "baseline": [*UVICORN, "benchmarks.baseline:app"],
    "floor": [*UVICORN, "benchmarks.floor:app"],
}
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")

_START_SECONDS = 20.0
_OK = 200
_NGINX_CONFIG = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream ollama {{
        server 127.0.0.1:{upstream_port};
        keepalive 1024;
        keepalive_requests 1000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://ollama;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


class StartError(Exception):
    """A contender did not start; the message contains its output."""


OLLA = os.environ.get("OLLA_BINARY")
_OLLA_CONFIG = """
server:
  host: 127.0.0.1
  port: {port}
  request_logging: false
  rate_limits:
    global_requests_per_minute: 100000000
    per_ip_requests_per_minute: 100000000
    health_requests_per_minute: 100000000
    burst_size: 1000000
    per_endpoint:
      default_requests_per_minute: 100000000
proxy:
  engine: olla
  profile: auto
discovery:
  type: static
  static:
    endpoints:
      - url: http://127.0.0.1:{upstream_port}
        name: upstream
        type: ollama
        priority: 100
        health_check_url: /api/version
        model_url: /api/tags
        check_interval: 30s
        check_timeout: 2s
logging:
  level: error
"""


@dataclass(frozen=True, slots=True)
class Contender:
    """A contender's process, and the port it listens on."""

    name: str
    port: int
    pid: int

    def chat(self, *, stream: bool, directive: str = "", tokens: int = BURST_TOKENS) -> Target:
        """Return a chat request; `directive` controls the upstream, see `benchmarks.upstream`."""
        prompt = (
            f"Write a headline about a fantasy-football trade. {f'[bench {directive}]' if directive else ''}".strip()
        )
        messages = [
            {"role": "system", "content": "You write for a sports desk."},
            {"role": "user", "content": prompt},
        ]
        if self._speaks_ollama:
            options = {"temperature": 0.7, "top_p": 0.9, "num_predict": tokens}
            body = {"model": "gpt-oss:latest", "messages": messages, "stream": stream, "options": options}
            return Target(self.port, f"{self._prefix}/api/chat", _json(body))
        body = {"model": "gpt-oss", "messages": messages, "stream": stream, "max_tokens": tokens}
        accept = "text/event-stream" if stream else "application/json"
        return Target(self.port, "/api/ollama/chat", _json(body), accept)

    def embedding(self, *, plain: bool = False) -> Target:
        """Return an embedding request; `plain` selects the baseline's route without a response model."""
        text = "Which running back should start this week?"
        if self._speaks_ollama:
            body = {"model": "nomic-embed-text", "input": text}
            return Target(self.port, f"{self._prefix}/api/embed", _json(body))
        path = "/plain/embeddings" if plain else "/api/ollama/embeddings"
        return Target(self.port, path, _json({"text": text}))

    @property
    def _speaks_ollama(self) -> bool:
        return self.name in {"native", "floor", "nginx", "olla", "direct"}

    @property
    def _prefix(self) -> str:
        return "/olla/ollama" if self.name == "olla" else ""


def _json(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def free_port() -> int:
    """Return a free loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def start_upstream() -> AsyncIterator[Contender]:
    """Run the simulated Ollama in its own process; it is also the contender `direct`."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.upstream", "--port", str(port)]
    async with _run("direct", port, command, {"PYTHONPATH": str(PROJECT_ROOT)}) as contender:
        yield contender


@asynccontextmanager
async def start_application(
    name: str, upstream: Contender, *, pool: int = 10, workers: int = 1
) -> AsyncIterator[Contender]:
    """Run one of the applications; the service is started as its README describes.

    Args:
        name: A key of `APPLICATIONS`.
        upstream: The simulated Ollama it connects to.
        pool: Maximum concurrent upstream requests per worker.
        workers: Number of worker processes.
    """
    port = free_port()
    environment = {
        "OLLAMA_BASE_URL": f"http://127.0.0.1:{upstream.port}",
        "OLLAMA_MAX_CONNECTIONS": str(pool),
        "OLLAMA_QUEUE_SIZE": "5000",
        "OLLAMA_QUEUE_TIMEOUT": "600",
        "LOG_LEVEL": "WARNING",
        "WEB_CONCURRENCY": str(workers),
        "HOST": "127.0.0.1",
        "PORT": str(port),
    }
    arguments = [] if APPLICATIONS[name] is SERVICE else ["--host", "127.0.0.1", "--port", str(port)]
    async with _run(name, port, [*APPLICATIONS[name], *arguments], environment) as contender:
        yield contender


@asynccontextmanager
async def start_nginx(upstream: Contender) -> AsyncIterator[Contender]:
    """Run nginx as a reverse proxy with one worker, as an upper bound of what a proxy can achieve.

    Raises:
        StartError: if it is not installed or does not start.
    """
    if NGINX is None:
        raise StartError("nginx is not installed")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="nginx-bench-") as directory:
        config = _write_config(directory, _NGINX_CONFIG, port, upstream.port)
        async with _run("nginx", port, [NGINX, "-c", config, "-p", directory], {}) as contender:
            yield contender


@asynccontextmanager
async def start_olla(upstream: Contender) -> AsyncIterator[Contender]:
    """Run Olla, a proxy for Ollama (https://github.com/thushan/olla), from the path in OLLA_BINARY.

    Raises:
        StartError: if OLLA_BINARY is not set or does not start.
    """
    if not OLLA:
        raise StartError("OLLA_BINARY is not set")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="olla-bench-") as directory:
        config = _write_config(directory, _OLLA_CONFIG, port, upstream.port)
        async with _run("olla", port, [OLLA, "--config", config], {}) as contender:
            yield contender


def _write_config(directory: str, text: str, port: int, upstream_port: int) -> str:
    config = Path(directory, "config.yaml" if text is _OLLA_CONFIG else "nginx.conf")
    config.write_text(text.format(directory=directory, port=port, upstream_port=upstream_port))
    return str(config)


@asynccontextmanager
async def _run(
    name: str, port: int, command: Sequence[str], environment: Mapping[str, str]
) -> AsyncIterator[Contender]:
    """Run a program within the context.

    It gets only this environment and an empty working directory, so that no settings of the user affect it.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=directory,
            env={"PATH": os.defpath, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=asyncio.subprocess.STDOUT,
        )
        contender = Contender(name, port, process.pid)
        try:
            if not await _is_ready(contender, process):
                log.seek(0)
                last_lines = log.read().decode(errors="replace").strip().splitlines()[-3:]
                raise StartError(" | ".join(last_lines) or "no response in time, and no output")
            yield contender
        finally:
            await _stop(process)


async def _is_ready(contender: Contender, process: asyncio.subprocess.Process) -> bool:
    """Wait until a chat request succeeds; return False if that takes too long or the process ends."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.returncode is None:
        try:
            response = await asyncio.wait_for(send_once(contender.chat(stream=False)), 5)
        except OSError:  # refused while the program is starting; includes TimeoutError
            pass
        else:
            if response.status == _OK:
                return True
        await asyncio.sleep(0.05)
    return False


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), 10)
    except TimeoutError:
        process.kill()
        await process.wait()

"""The service as a process."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parent.parent
START_SECONDS = 60
END_SECONDS = 20.0  # limit for something immediate, on a busy machine


class ServiceProcess:
    """A running `python main.py`."""

    def __init__(self, process: asyncio.subprocess.Process, host: str, port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.url = f"http://{'[::1]' if ':' in host else '127.0.0.1'}:{port}"
        self._log = log

    @property
    def log(self) -> str:
        """Its output on stderr so far."""
        return self._log.read_text()

    @property
    def resident_kb(self) -> int:
        """Its resident memory in kilobytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])

    def terminate(self) -> None:
        """Send SIGTERM, as Docker and Kubernetes do."""
        self.process.send_signal(signal.SIGTERM)

    async def exit_code(self, seconds: float = END_SECONDS) -> int:
        """Wait until it exits."""
        async with asyncio.timeout(seconds):
            return await self.process.wait()

    def open_sockets(self) -> int:
        """Count its TCP connections, without listening sockets."""
        inodes = set()
        for entry in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                target = str(entry.readlink())
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[len("socket:[") : -1])
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(row[9] in inodes and row[3] == "01" for row in rows)


def free_port() -> int:
    """Return a port that the kernel assigns to no other process within the next minute.

    A connection that the server's side has closed first leaves the port in TIME_WAIT: the kernel does not choose it,
    and a server that sets SO_REUSEADDR, as nearly all do, can listen there.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            listener.accept()[0].close()
            assert client.recv(1) == b""
        return port


@asynccontextmanager
async def run_service(
    upstream: str, directory: Path, program: Path = ROOT / "main.py", **environment: object
) -> AsyncIterator[ServiceProcess]:
    """Run the service, or a program that serves it, in a process with warnings as errors; yield it when it responds."""
    port = free_port()
    log = directory / f"service-{port}.log"
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    settings = {name.upper(): str(value) for name, value in environment.items()}
    variables = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "OLLAMA_BASE_URL": upstream,
        "PYTHONWARNINGS": "error",
        "SERVICE_ENV_FILE": os.devnull,
        "SHUTDOWN_DELAY": "0",
    }
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, program, cwd=directory, env=inherited | variables | settings, stderr=stderr
        )
    service = ServiceProcess(process, settings.get("HOST", ""), port, log)
    try:
        await _answers(service)
        yield service
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _answers(service: ServiceProcess) -> None:
    async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as client:
        while True:
            assert service.process.returncode is None, service.log
            try:
                async with client.get(f"{service.url}/health/live"):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


async def unreachable(url: str, seconds: float = END_SECONDS) -> None:
    """Wait until the server has stopped."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                async with aiohttp.ClientSession() as client, client.get(url + "/health/live"):
                    pass
            except aiohttp.ClientConnectionError:
                return
            await asyncio.sleep(0.05)

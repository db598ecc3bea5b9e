"""HAProxy with the configuration of `deploy/haproxy`, in front of simulators."""

import asyncio
import csv
import os
import re
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.service_process import END_SECONDS, ROOT, free_port

CONFIGURATION = ROOT / "deploy" / "haproxy" / "haproxy.cfg"
PROGRAM = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
SERVER_LINE = re.compile(r"^    server ollama\d .*\n", re.MULTILINE)
ADDRESS = re.compile(r'"\$\{OLLAMA_1-[^}]*\}"')

needs_haproxy = pytest.mark.skipif(PROGRAM is None, reason="needs haproxy; on Debian: apt install haproxy")


class Gateway:
    """A running HAProxy."""

    def __init__(self, port: int, metrics_port: int, admin_socket: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        self._admin_socket = admin_socket

    async def admin(self, command: str) -> str:
        """Send a command to the runtime API and return what it says."""
        reader, writer = await asyncio.open_unix_connection(self._admin_socket)
        try:
            writer.write(f"{command}\n".encode())
            return (await reader.read()).decode().strip()
        finally:
            writer.close()
            await writer.wait_closed()

    async def set_server(self, server: str, what: str) -> None:
        """Change a server, such as `generation/ollama1`; `what` is `state drain`, `weight 0` or another change."""
        assert await self.admin(f"set server {server} {what}") == ""

    async def statistics(self, backend: str, server: str = "BACKEND") -> dict[str, str]:
        """Return a row of HAProxy's statistics."""
        table = (await self.admin("show stat")).removeprefix("# ")
        rows = csv.DictReader(table.splitlines())
        return next(row for row in rows if (row["pxname"], row["svname"]) == (backend, server))

    async def requests(self, backend: str = "generation") -> int:
        """Return how many requests came to a backend."""
        return int((await self.statistics(backend))["req_tot"])

    async def has_received(self, count: int, backend: str = "generation") -> None:
        """Wait until so many requests came to a backend; they are counted a moment after their end."""
        async with asyncio.timeout(END_SECONDS):
            while await self.requests(backend) != count:
                await asyncio.sleep(0.02)

    async def has(self, count: int, status: str, backend: str = "generation") -> None:
        """Wait until so many servers have a status, such as `UP`."""
        async with asyncio.timeout(END_SECONDS):
            while True:
                rows = csv.DictReader((await self.admin("show stat")).removeprefix("# ").splitlines())
                if [row["status"] for row in rows if row["pxname"] == backend and row["type"] == "2"].count(
                    status
                ) == count:
                    return
                await asyncio.sleep(0.02)


def configuration(addresses: Sequence[str]) -> str:
    """Return the configuration with a `server` line for each address, in both backends."""
    text = CONFIGURATION.read_text()
    first_lines = [line for line in SERVER_LINE.findall(text) if "ollama1" in line]
    assert len(first_lines) == 2
    for line in first_lines:
        assert ADDRESS.search(line)
        copies = [
            ADDRESS.sub(f'"{address}"', line).replace("ollama1", f"ollama{number}")
            for number, address in enumerate(addresses, 1)
        ]
        text = text.replace(line, "".join(copies))
    return re.sub(r'^    server ollama2 "\$.*\n', "", text, flags=re.MULTILINE)


@asynccontextmanager
async def run_haproxy(
    urls: Sequence[str], program: str | None = None, without: str | None = None, **environment: object
) -> AsyncIterator[Gateway]:
    """Run HAProxy in front of servers; `without` is a word whose lines are left out of the configuration."""
    port, metrics_port = free_port(), free_port()
    text = configuration([url.removeprefix("http://") for url in urls])
    if without is not None:
        assert without in text
        text = "".join(line for line in text.splitlines(keepends=True) if without not in line)
    variables = {
        "GATEWAY_BIND": f"127.0.0.1:{port}",
        "METRICS_BIND": f"127.0.0.1:{metrics_port}",
        **{name.upper(): str(value) for name, value in environment.items()},
    }
    with TemporaryDirectory(prefix="haproxy-") as directory:
        admin_socket = f"{directory}/admin.sock"
        path = Path(directory, "haproxy.cfg")
        _write(path, text)
        process = await asyncio.create_subprocess_exec(
            *(program or PROGRAM or "haproxy", "-f", path),
            env={"PATH": os.environ.get("PATH", ""), "ADMIN_SOCKET": admin_socket} | variables,
        )
        try:
            await _listens(port, process)
            yield Gateway(port, metrics_port, admin_socket)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def _write(path: Path, text: str) -> None:
    path.write_text(text)


async def _listens(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(END_SECONDS):
        while True:
            assert process.returncode is None, "its output says why"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            await asyncio.sleep(0.01)

"""Load generation: keep a number of connections busy, with `wrk` if installed, else with asyncio."""

import asyncio
import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.client import Connection, Target
from benchmarks.usage import cpu_seconds

WRK = shutil.which("wrk")
_WRK_SCRIPT = Path(__file__).with_name("wrk.lua")
_OK = 200


@dataclass(frozen=True, slots=True)
class Load:
    """Result of a load test."""

    requests: float
    seconds: float
    errors: int
    server_cpu_seconds: float

    @property
    def rate(self) -> float:
        """Responses per second."""
        return self.requests / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU time of the server per response, in microseconds."""
        return self.server_cpu_seconds / self.requests * 1e6 if self.requests else float("nan")


async def run_load(target: Target, connections: int, seconds: float, server_pid: int) -> Load:
    """Keep a number of connections busy; count the responses and the CPU time of the server."""
    before = cpu_seconds(server_pid)
    if WRK:
        requests, elapsed, errors = await _run_wrk(WRK, target, connections, seconds)
    else:
        requests, elapsed, errors = await _run_client(target, connections, seconds)
    # At the end one request is in progress per connection, on average half complete.
    return Load(requests + connections / 2, elapsed, errors, cpu_seconds(server_pid) - before)


async def _run_wrk(wrk: str, target: Target, connections: int, seconds: float) -> tuple[int, float, int]:
    with tempfile.NamedTemporaryFile(suffix=".json") as body:
        body.write(target.body)
        body.flush()
        command = [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "60s"]
        command += ["-s", str(_WRK_SCRIPT), target.url, "--", body.name, target.accept]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
    summary = json.loads(output.decode().splitlines()[-1])
    return summary["requests"], summary["duration_us"] / 1e6, summary["errors"]


async def _run_client(target: Target, connections: int, seconds: float) -> tuple[int, float, int]:
    crowd = Crowd(target, connections)
    async with crowd:
        started = time.monotonic()
        await asyncio.sleep(seconds)
        return crowd.responses, time.monotonic() - started, crowd.errors


class Crowd:
    """Concurrent clients that each send one request after the other, until the context exits."""

    def __init__(self, target: Target, clients: int) -> None:
        self.responses = 0
        self.errors = 0
        self._target = target
        self._clients = clients
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Crowd":
        self._tasks = [asyncio.create_task(self._client()) for _ in range(self._clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _client(self) -> None:
        request = self._target.render()
        while True:
            connection = await Connection.open(self._target.port)
            try:
                response = await connection.send(request)
                while response.complete and response.status == _OK:
                    self.responses += 1
                    response = await connection.send(request)
            finally:
                connection.close()
            self.errors += 1
            await asyncio.sleep(0.1)  # avoid a busy loop if the server rejects all requests

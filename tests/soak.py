"""`python -m tests.soak`: ten thousand requests, a third of which are cancelled; detects leaks."""

import asyncio
import random
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

from tests.kinds import KINDS, PLACE_FREE, Kind, load
from tests.service_process import ServiceProcess, free_port, run_service

REQUESTS = 10_000
WARM_UP = 1_000
AT_ONCE = 40
PLACES = 10
LEAVING = 1 / 3
LONGEST_STAY_SECONDS = 0.12
MEMORY_LIMIT_KB = 10 * 1024
IDLE_POOL = PLACES + 16
MODELS = ["llama3.1", "gpt-oss", "unknown"]


def say(text: str) -> None:
    """Print a figure."""
    sys.stdout.write(f"{text}\n")


class Soak:
    """Clients of one service, some of which disconnect."""

    def __init__(self, service: ServiceProcess, client: aiohttp.ClientSession, seed: int) -> None:
        self._service = service
        self._client = client
        self._rng = random.Random(seed)
        self.outcomes: Counter[str] = Counter()

    async def run(self, requests: int) -> None:
        """Send a number of requests, some of them concurrently."""
        left = iter(range(requests))

        async def work() -> None:
            for _ in left:
                await self._one()

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))

    async def _one(self) -> None:
        kind = self._rng.choice(KINDS)
        stay = self._rng.random() * LONGEST_STAY_SECONDS if self._rng.random() < LEAVING else None
        try:
            async with asyncio.timeout(stay):
                self.outcomes[await self._ask(kind)] += 1
        except TimeoutError:
            self.outcomes["left"] += 1

    async def _ask(self, kind: Kind) -> str:
        more = {"model": self._rng.choice(MODELS)} if kind.upstream != "/api/embed" else {}
        async with kind.ask(self._client, self._service.url, **more) as response:
            body = await response.read()
            if response.status == 200 and kind.tells_more and b'"type":"done"' not in body:
                return "200 without its end"
            return str(response.status)


def open_to(port: int, pid: int) -> int:
    """Count the connections of a process to a port."""
    inodes = {
        found[1]
        for entry in Path(f"/proc/{pid}/fd").iterdir()
        if entry.is_symlink() and (found := re.fullmatch(r"socket:\[(\d+)\]", str(entry.readlink())))
    }
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[9] in inodes and int(row[2].rpartition(":")[2], 16) == port for row in rows)


async def upstream_running(client: aiohttp.ClientSession, service: ServiceProcess) -> dict[str, int]:
    """Wait until no slot is held; return what is still held after the timeout."""
    for _ in range(40):
        held = await load(client, service.url)
        if held == PLACE_FREE:
            break
        await asyncio.sleep(0.05)
    return held


async def soak(directory: Path) -> bool:
    """Run it, print the figures, and return whether they are within their limits."""
    port = free_port()
    simulator = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "simulator", "--port", str(port), "--seconds-per-token", "0.0005"),
        *("--load-seconds", "0.02"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        settings: dict[str, Any] = {
            "ollama_max_connections": PLACES,
            "log_level": "WARNING",
            "ollama_retry_backoff": 0.05,
        }
        async with (
            run_service(f"http://127.0.0.1:{port}", directory, **settings) as service,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client,
        ):
            return await measure(service, client, port)
    finally:
        simulator.terminate()
        await simulator.wait()


async def measure(service: ServiceProcess, client: aiohttp.ClientSession, port: int) -> bool:
    """Run the requests and measure what is left."""
    while (await load_status(client, service)) != 200:
        await asyncio.sleep(0.1)
    run = Soak(service, client, seed=1)
    started = time.monotonic()
    await run.run(WARM_UP)
    memory_before = service.resident_kb
    await run.run(REQUESTS - WARM_UP)
    seconds = time.monotonic() - started
    held = await upstream_running(client, service)
    memory_after = service.resident_kb
    sockets = open_to(port, service.process.pid)
    service.terminate()
    code = await service.exit_code(10)
    trouble = [line for line in service.log.splitlines() if re.search(r"Traceback| ERROR |Warning:|Unclosed", line)]
    say(f"requests          {sum(run.outcomes.values())} in {seconds:.1f} s, {AT_ONCE} at once")
    say("outcomes          " + ", ".join(f"{name}: {count}" for name, count in sorted(run.outcomes.items())))
    say(f"places held       {held['running']} running, {held['queued']} queued")
    say(f"upstream sockets  {sockets} open, of {IDLE_POOL} that may idle")
    say(f"memory            {memory_before} kB after {WARM_UP}, {memory_after} kB after {REQUESTS}")
    say(f"exit              code {code}, {len(trouble)} lines of trouble in the log")
    say("\n".join(trouble[:20]))
    return (
        held == PLACE_FREE
        and sockets <= IDLE_POOL
        and memory_after - memory_before < MEMORY_LIMIT_KB
        and set(run.outcomes) == {"200", "left"}
        and code == 0
        and not trouble
    )


async def load_status(client: aiohttp.ClientSession, service: ServiceProcess) -> int:
    async with client.get(f"{service.url}/health/ready") as response:
        return response.status


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        is_good = asyncio.run(soak(Path(directory)))
    say("good" if is_good else "NOT GOOD")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())

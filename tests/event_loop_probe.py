"""Measures from another process how long an HTTP server takes to respond.

Time in which either process waits for a CPU is subtracted.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

PROBE = """
import http.client, pathlib, sys, threading, time

def waited_for_processor():
    files = [pathlib.Path(f"/proc/{pid}/schedstat") for pid in ("self", sys.argv[2])]
    return sum(int(file.read_text().split()[1]) for file in files if file.exists()) / 1e9

done = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
longest = 0
print("ready", flush=True)
while not done.is_set():
    waited = waited_for_processor()
    started_at = time.perf_counter()
    connection.request("GET", "/health/live")
    connection.getresponse().read()
    elapsed = time.perf_counter() - started_at
    longest = max(longest, elapsed - (waited_for_processor() - waited))
    time.sleep(0.01)
print(longest)
"""


@dataclass
class Stall:
    """The longest time that `/health/live` took; known when the probe has ended."""

    seconds: float = 0


@asynccontextmanager
async def longest_stall(port: int, pid: int) -> AsyncIterator[Stall]:
    """Request `/health/live` a hundred times per second within the context."""
    pipe = asyncio.subprocess.PIPE
    arguments = [sys.executable, "-c", PROBE, str(port), str(pid)]
    probe = await asyncio.create_subprocess_exec(*arguments, stdin=pipe, stdout=pipe)
    assert probe.stdin is not None
    assert probe.stdout is not None
    assert await probe.stdout.readline() == b"ready\n"
    stall = Stall()
    try:
        yield stall
    finally:
        probe.stdin.close()
        stall.seconds = float(await probe.stdout.readline())
        await probe.wait()

"""`python -m benchmarks.gateway`: what HAProxy adds to a request, with the configuration of deploy/haproxy."""

import asyncio
import statistics
import time

import aiohttp

from config import Settings
from main import create_app
from simulator import Simulator
from tests.haproxy import run_haproxy
from tests.kinds import STREAMED_SSE, WHOLE, Kind
from tests.scale.farm import haproxy_program
from tests.serving import serve

REQUESTS = 1000
WARM_UP = 100
FIRST_BYTE = "first byte of a stream"
COMPLETE = "complete response"


async def measure(client: aiohttp.ClientSession, url: str, kind: Kind) -> float:
    """Return the milliseconds until the first byte of a stream, or the end of any other response."""
    started = time.perf_counter()
    async with kind.ask(client, url) as response:
        assert response.status == 200  # noqa: S101, PLR2004
        if kind.is_stream:
            await response.content.readany()
            elapsed = time.perf_counter() - started
            await response.read()
        else:
            await response.read()
            elapsed = time.perf_counter() - started
    return elapsed * 1000


async def main() -> None:
    """Measure, in turns so that both see the same noise, and print a table."""
    async with (
        Simulator() as simulator,
        run_haproxy([simulator.url], program=haproxy_program()) as gateway,
        serve(create_app(Settings(_env_file=None, ollama_base_url=simulator.url))) as direct,
        serve(create_app(Settings(_env_file=None, ollama_base_url=gateway.url))) as through,
        aiohttp.ClientSession() as client,
    ):
        for what, kind in ((COMPLETE, WHOLE), (FIRST_BYTE, STREAMED_SSE)):
            taken: dict[str, list[float]] = {direct: [], through: []}
            for number in range(WARM_UP + REQUESTS):
                for url, found in taken.items():
                    milliseconds = await measure(client, url, kind)
                    if number >= WARM_UP:
                        found.append(milliseconds)
            for name, url in (("direct", direct), ("through HAProxy", through)):
                quantiles = statistics.quantiles(taken[url], n=100)
                print(f"{what:24} {name:16} median {quantiles[49]:6.2f} ms, 99th percentile {quantiles[98]:6.2f} ms")


if __name__ == "__main__":
    asyncio.run(main())

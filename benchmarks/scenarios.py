"""The measurements: one coroutine each, which returns numbers."""

import asyncio
import gc
import json
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import quantiles

from benchmarks.client import Connection, Target, send_once
from benchmarks.contenders import Contender
from benchmarks.load import Crowd, Load, run_load
from benchmarks.upstream import BURST_TOKENS, EMBEDDING_DIMENSION
from benchmarks.usage import cpu_seconds, resident_bytes

WORKS = ("chat", "stream", "flushed", "embedding", "plain embedding")
CONNECTIONS = 10
TOKENS_PER_SECOND = 50
SLOW_RESPONSE_MS = 20
_OK = 200


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile; NaN if there are no values."""
    if len(values) < 2:  # noqa: PLR2004
        return values[0] if values else math.nan
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def target_of(contender: Contender, work: str) -> Target:
    """Return the request for a kind of work."""
    if "embedding" in work:
        return contender.embedding(plain=work == "plain embedding")
    return contender.chat(stream=work != "chat", directive="flush=1" if work == "flushed" else "")


def works_of(contender: Contender) -> list[str]:
    """Return the kinds of work to measure; `plain embedding` only exists in the baseline."""
    return [work for work in WORKS if work != "plain embedding" or contender.name == "baseline"]


async def check(contender: Contender) -> str | None:
    """Verify one response for each kind of work; return a description of the first wrong one."""
    for work in works_of(contender):
        try:
            response = await asyncio.wait_for(send_once(target_of(contender, work)), 10)
        except TimeoutError:
            return f"{work}: no response in 10 s"
        if response.status != _OK or not response.complete:
            return f"{work}: status {response.status}, complete: {response.complete}"
        if work in {"stream", "flushed"}:
            right = response.body.count(b" word") == BURST_TOKENS and b"done" in response.body
        elif work == "chat":
            right = b" word99" in response.body
        else:
            body = json.loads(response.body)
            vector = body["embeddings"]
            right = len(vector if isinstance(vector[0], float) else vector[0]) == EMBEDDING_DIMENSION
        if not right:
            return f"{work}: unexpected response {bytes(response.body[:200])!r}"
    return None


async def throughput(contender: Contender, work: str, seconds: float, connections: int = CONNECTIONS) -> Load:
    """Measure responses per second and CPU time per response with all connections busy."""
    return await run_load(target_of(contender, work), connections, seconds, contender.pid)


async def first_token_ms(contender: Contender, samples: int) -> list[float]:
    """Measure the time from sending a request to its first token, one request at a time.

    Raises:
        RuntimeError: if a token is lost.
    """
    request = contender.chat(stream=True, directive="rate=1000 tokens=1").render()
    connection = await Connection.open(contender.port)
    times_ms = []
    try:
        for _ in range(samples):
            response = await asyncio.wait_for(connection.send(request), 10)
            if not response.complete or len(response.token_delays_ns) != 1:
                raise RuntimeError(f"{contender.name} lost the token of a stream")
            times_ms.append((response.first_token_ns - response.sent_ns) / 1e6)
            await asyncio.sleep(0.002)
    finally:
        connection.close()
    return times_ms


@dataclass(frozen=True, slots=True)
class PacedStreams:
    """Result of many concurrent streams at reading speed."""

    streams: int
    complete: int
    tokens_lost: int
    delay_ms_median: float
    delay_ms_p99: float
    delay_ms_max: float
    cpu_us_per_token: float
    cpu_share: float
    memory_kb_per_stream: float


async def paced_streams(contender: Contender, streams: int, seconds: float) -> PacedStreams:
    """Open a number of streams within one second, and measure the delay of each token.

    Memory is the increase over that before the streams; CPU time is measured while all are open.
    """
    tokens = round((seconds + 1) * TOKENS_PER_SECOND)
    target = contender.chat(stream=True, directive=f"rate={TOKENS_PER_SECOND} tokens={tokens}", tokens=tokens)
    idle_bytes = resident_bytes(contender.pid)
    gc.collect()
    gc.disable()  # a collection in this process would be counted as delay
    try:
        connections: list[Connection] = []
        tasks = [asyncio.create_task(_one_stream(target, n / streams, connections)) for n in range(streams)]
        await asyncio.sleep(1)
        started, cpu, arrived = time.monotonic(), cpu_seconds(contender.pid), _tokens_arrived(connections)
        await asyncio.sleep(seconds * 0.9)
        elapsed = time.monotonic() - started
        cpu, arrived = cpu_seconds(contender.pid) - cpu, _tokens_arrived(connections) - arrived
        memory_kb = (resident_bytes(contender.pid) - idle_bytes) / 1024
        await asyncio.gather(*tasks)
    finally:
        gc.enable()
    responses = [connection.response for connection in connections]
    delays_ms = [delay / 1e6 for response in responses for delay in response.token_delays_ns]
    return PacedStreams(
        streams=streams,
        complete=sum(response.complete and len(response.token_delays_ns) == tokens for response in responses),
        tokens_lost=streams * tokens - len(delays_ms),
        delay_ms_median=percentile(delays_ms, 50),
        delay_ms_p99=percentile(delays_ms, 99),
        delay_ms_max=max(delays_ms, default=math.nan),
        cpu_us_per_token=cpu / arrived * 1e6 if arrived else math.nan,
        cpu_share=cpu / elapsed,
        memory_kb_per_stream=memory_kb / streams,
    )


def _tokens_arrived(connections: Sequence[Connection]) -> int:
    return sum(len(connection.response.token_delays_ns) for connection in connections)


async def _one_stream(target: Target, after_seconds: float, connections: list[Connection]) -> None:
    """Read one stream to its end, for a minute at most."""
    await asyncio.sleep(after_seconds)
    connection = await Connection.open(target.port)
    connections.append(connection)
    with suppress(TimeoutError):
        await asyncio.wait_for(connection.send(target.render()), 60)
    connection.close()


async def queue_cpu_us(contender: Contender, waiting: int, seconds: float) -> float:
    """Measure CPU time per request while the pool is full and a number of requests are queued.

    Raises:
        RuntimeError: if a request is rejected.
    """
    target = contender.chat(stream=False, directive=f"delay_ms={SLOW_RESPONSE_MS}")
    async with Crowd(target, CONNECTIONS + waiting) as crowd:
        await asyncio.sleep(1 + waiting / 1000)  # until all have arrived and the queue has its full length
        responses, cpu = crowd.responses, cpu_seconds(contender.pid)
        await asyncio.sleep(seconds)
        responses, cpu = crowd.responses - responses, cpu_seconds(contender.pid) - cpu
    if crowd.errors:
        raise RuntimeError(f"{contender.name} rejected {crowd.errors} requests that should have been queued")
    return cpu / responses * 1e6

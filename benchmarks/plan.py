"""The measurements and their order: in each round all contenders take turns."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from benchmarks import scenarios
from benchmarks.contenders import (
    APPLICATIONS,
    OLLA,
    Contender,
    StartError,
    start_application,
    start_nginx,
    start_olla,
    start_upstream,
)
from benchmarks.load import Load
from benchmarks.scenarios import PacedStreams

ALL = ("service", "native", "baseline", "floor", "nginx", *(("olla",) if OLLA else ()))
QUEUED = ("service", "baseline")  # floor queues as baseline does
QUEUE_LENGTHS = (100, 1000)  # long enough waits that disconnects are monitored
WORKERS_WORKS = ("chat", "stream")


@dataclass(frozen=True, slots=True)
class Plan:
    """Durations and numbers of rounds."""

    rounds: int = 5
    load_seconds: float = 2
    first_token_samples: int = 500
    paced_rounds: int = 3
    paced_seconds: float = 3
    paced_streams: Sequence[int] = (25, 50, 100, 200, 400)
    queue_rounds: int = 3
    queue_seconds: float = 4
    workers_rounds: int = 3
    contenders: Sequence[str] = ALL


QUICK = Plan(
    rounds=1,
    load_seconds=1,
    first_token_samples=100,
    paced_rounds=1,
    paced_seconds=1.5,
    paced_streams=(50, 200),
    queue_rounds=1,
    queue_seconds=1.5,
    workers_rounds=1,
)


@dataclass(slots=True)
class Figures:
    """All results, by contender, then by kind of work, number of streams or number of queued requests."""

    throughput: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    first_token_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    paced: dict[str, dict[int, PacedStreams]] = field(default_factory=dict)
    queue_cpu_us: dict[str, dict[int, float]] = field(default_factory=dict)
    workers: dict[int, dict[str, dict[str, Any]]] = field(default_factory=dict)
    workers_of: str = ""
    not_measured: list[str] = field(default_factory=list)


async def measure(plan: Plan) -> Figures:
    """Run all measurements of a plan."""
    figures = Figures()
    async with start_upstream() as upstream:
        for step in (_throughput_and_first_token, _paced, _queue, _workers):
            print(f"… {step.__name__.strip('_').replace('_', ' ')}", flush=True)
            await step(plan, upstream, figures)
    figures.not_measured = list(dict.fromkeys(figures.not_measured))
    return figures


async def _start_all(
    stack: AsyncExitStack, plan: Plan, upstream: Contender, figures: Figures, pool: int = 10
) -> list[Contender]:
    """Start all contenders; note those that do not start or do not respond correctly."""
    running = [upstream]
    for name in plan.contenders:
        if name in APPLICATIONS:
            start = start_application(name, upstream, pool=pool)
        else:
            start = start_olla(upstream) if name == "olla" else start_nginx(upstream)
        try:
            contender = await stack.enter_async_context(start)
        except StartError as error:
            figures.not_measured.append(f"{name}: {error}")
            continue
        if problem := await scenarios.check(contender):
            figures.not_measured.append(f"{name}: {problem}")
            continue
        running.append(contender)
    return running


async def _throughput_and_first_token(plan: Plan, upstream: Contender, figures: Figures) -> None:
    async with AsyncExitStack() as stack:
        running = await _start_all(stack, plan, upstream, figures)
        loads: dict[str, dict[str, list[Load]]] = {
            contender.name: {work: [] for work in scenarios.works_of(contender)} for contender in running
        }
        for turn in range(plan.rounds):
            for work in scenarios.WORKS:
                for contender in _rotated(running, turn):
                    if work not in loads[contender.name]:
                        continue
                    load = await scenarios.throughput(contender, work, plan.load_seconds)
                    loads[contender.name][work].append(load)
        for name, works in loads.items():
            figures.throughput[name] = {work: _median_load(each) for work, each in works.items()}
        await _first_token(plan, running, figures)


def _rotated(running: list[Contender], turn: int) -> list[Contender]:
    """Rotate the order each round, so that none always benefits or suffers from its position."""
    first = turn % len(running)
    return running[first:] + running[:first]


def _median_load(loads: list[Load]) -> dict[str, Any]:
    return {
        "rate": median(load.rate for load in loads),
        "cpu_us": median(load.cpu_us for load in loads),
        "errors": sum(load.errors for load in loads),
        "rates": [round(load.rate, 1) for load in loads],
    }


async def _first_token(plan: Plan, running: list[Contender], figures: Figures) -> None:
    times_ms: dict[str, list[float]] = {contender.name: [] for contender in running}
    slices = 5
    for turn in range(slices):
        for contender in _rotated(running, turn):
            samples = plan.first_token_samples // slices
            try:
                times_ms[contender.name] += await scenarios.first_token_ms(contender, samples)
            except (RuntimeError, TimeoutError) as error:
                figures.not_measured.append(f"first token of {contender.name}: {error or 'no response in time'}")
    for name, times in ((name, times) for name, times in times_ms.items() if times):
        figures.first_token_ms[name] = {"median": median(times), "p99": scenarios.percentile(times, 99)}


async def _paced(plan: Plan, upstream: Contender, figures: Figures) -> None:
    """Measure increasing numbers of streams; each round uses new processes, as processes rarely release memory."""
    found: dict[str, dict[int, list[PacedStreams]]] = {}
    for _ in range(plan.paced_rounds):
        async with AsyncExitStack() as stack:
            running = await _start_all(stack, plan, upstream, figures, pool=2 * max(plan.paced_streams))
            for streams in plan.paced_streams:
                for contender in running:
                    paced = await scenarios.paced_streams(contender, streams, plan.paced_seconds)
                    found.setdefault(contender.name, {}).setdefault(streams, []).append(paced)
    for name, by_streams in found.items():
        figures.paced[name] = {streams: _median_paced(each) for streams, each in by_streams.items()}


def _median_paced(rounds: list[PacedStreams]) -> PacedStreams:
    """Return the median of each figure, but the worst round for lost tokens and incomplete streams."""
    medians = {name: median(asdict(each)[name] for each in rounds) for name in asdict(rounds[0])}
    medians["complete"] = min(each.complete for each in rounds)
    medians["tokens_lost"] = max(each.tokens_lost for each in rounds)
    return PacedStreams(**medians)


async def _queue(plan: Plan, upstream: Contender, figures: Figures) -> None:
    for name in (name for name in plan.contenders if name in QUEUED):
        found: dict[int, list[float]] = {waiting: [] for waiting in QUEUE_LENGTHS}
        try:
            for _ in range(plan.queue_rounds):
                for waiting in QUEUE_LENGTHS:
                    async with start_application(name, upstream) as contender:
                        found[waiting].append(await scenarios.queue_cpu_us(contender, waiting, plan.queue_seconds))
        except (StartError, RuntimeError) as error:
            figures.not_measured.append(f"queue of {name}: {error}")
            continue
        figures.queue_cpu_us[name] = {waiting: median(each) for waiting, each in found.items()}


async def _workers(plan: Plan, upstream: Contender, figures: Figures) -> None:
    """Measure the first application that could be measured with one worker and with two."""
    name = next((name for name in plan.contenders if name in APPLICATIONS and name in figures.throughput), None)
    if name is None:
        return
    async with AsyncExitStack() as stack:
        running = {
            workers: await stack.enter_async_context(start_application(name, upstream, pool=20, workers=workers))
            for workers in (1, 2)
        }
        await asyncio.sleep(2)  # the second process may still be starting
        loads: dict[int, dict[str, list[Load]]] = {workers: {} for workers in running}
        for _ in range(plan.workers_rounds):
            for work in WORKERS_WORKS:
                for workers, contender in running.items():
                    load = await scenarios.throughput(contender, work, plan.load_seconds, connections=20)
                    loads[workers].setdefault(work, []).append(load)
    figures.workers_of = name
    figures.workers = {
        workers: {work: _median_load(each) for work, each in works.items()} for workers, works in loads.items()
    }

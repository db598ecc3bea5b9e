"""Report of the results: a table with targets, and JSON."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.plan import ALL, QUEUE_LENGTHS, Figures
from benchmarks.scenarios import CONNECTIONS, TOKENS_PER_SECOND, PacedStreams
from benchmarks.upstream import BURST_TOKENS

COLUMNS = (*ALL, "direct")
TARGET_STREAMS = 200
_WORK_TITLES = {
    "chat": "complete chat",
    "stream": f"stream of {BURST_TOKENS}, one write",
    "flushed": f"stream of {BURST_TOKENS}, flushed one by one",
    "embedding": "embedding of 768",
    "plain embedding": "embedding of 768, dict returned",
}
_RATIO_TARGETS = {"chat": 1.3, "stream": 3.0, "flushed": 3.0, "embedding": 4.0}
_STREAMS = ("stream", "flushed")
_STREAM_NGINX_TARGET = 0.5
_CPU_PER_TOKEN_US = 12.0
_FIRST_TOKEN_MEDIAN_MS, _FIRST_TOKEN_P99_MS = 2.0, 10.0
_PACED_DELAY_MS, _PACED_MEMORY_KB = 20.0, 150.0
_FLAT = 1.25


@dataclass(frozen=True, slots=True)
class Check:
    """A target and the value reached."""

    target: str
    reached: float
    met: bool
    unit: str = ""

    @property
    def verdict(self) -> str:
        """`pass`, `FAIL` or `not measured`."""
        if math.isnan(self.reached):
            return "not measured"
        return "pass" if self.met else "FAIL"


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table: a measure of all contenders."""

    title: str
    values: Mapping[str, float]
    checks: list[Check] = field(default_factory=list)


def _at_least(ratio: float, target: float, of: str) -> Check:
    return Check(f">= {target:g} x {of}", ratio, ratio >= target, " x")


def _at_most(value: float, target: float, unit: str) -> Check:
    return Check(f"<= {target:g}{unit}", value, value <= target, unit)


def lines(figures: Figures) -> Iterator[Line]:
    """Yield the rows of the table."""
    yield from _throughput_lines(figures)
    yield from _first_token_lines(figures)
    yield from _paced_lines(figures)
    yield from _queue_lines(figures)
    yield from _worker_lines(figures)


def _throughput_lines(figures: Figures) -> Iterator[Line]:
    for work, title in _WORK_TITLES.items():
        loads = {name: works[work] for name, works in figures.throughput.items() if work in works}
        rates = {name: load["rate"] for name, load in loads.items()}
        yield Line(f"{title}: responses/s", rates, _ratio_checks(figures, work))
        costs = {name: load["cpu_us"] for name, load in loads.items()}
        yield Line(f"{title}: server CPU us", costs)
        if work in _STREAMS:
            per_token = {name: cost / BURST_TOKENS for name, cost in costs.items()}
            check = _at_most(per_token.get("service", math.nan), _CPU_PER_TOKEN_US, " us")
            yield Line(f"{title}: server CPU us per token", per_token, [check])
        failed = {name: float(load["errors"]) for name, load in loads.items()}
        if any(failed.values()):
            yield Line(f"{title}: errors", failed, [_at_most(failed.get("service", math.nan), 0, "")])


def _ratio_checks(figures: Figures, work: str) -> list[Check]:
    """Compare the throughput of the service with the others for one kind of work."""
    if work not in _RATIO_TARGETS:
        return []
    target = _RATIO_TARGETS[work]
    checks = [_at_least(_ratio(figures, work, "baseline", work), target, "baseline")]
    if work in _STREAMS:
        checks.append(_at_least(_ratio(figures, work, "nginx", work), _STREAM_NGINX_TARGET, "nginx"))
    if work == "embedding":
        ratio = _ratio(figures, work, "baseline", "plain embedding")
        checks.append(_at_least(ratio, target, "baseline, dict returned"))
    return checks


def _ratio(figures: Figures, work: str, other: str, work_of_other: str) -> float:
    try:
        throughput = figures.throughput
        ratio: float = throughput["service"][work]["rate"] / throughput[other][work_of_other]["rate"]
    except KeyError:
        return math.nan
    return ratio


def _first_token_lines(figures: Figures) -> Iterator[Line]:
    direct = figures.first_token_ms.get("direct", {}).get("median", math.nan)
    targets = {"median": _FIRST_TOKEN_MEDIAN_MS, "p99": _FIRST_TOKEN_P99_MS}
    for which, target in targets.items():
        added = {name: times[which] - direct for name, times in figures.first_token_ms.items() if name != "direct"}
        check = _at_most(added.get("service", math.nan), target, " ms")
        yield Line(f"time to first token, ms added, {which}", added, [check])


def _paced_lines(figures: Figures) -> Iterator[Line]:
    paced = {name: by[TARGET_STREAMS] for name, by in figures.paced.items() if TARGET_STREAMS in by}
    measures: list[tuple[str, Callable[[PacedStreams], float], float | None, str]] = [
        ("tokens lost or streams cut", lambda p: p.tokens_lost + p.streams - p.complete, 0, ""),
        ("delay per token, ms, median", lambda p: p.delay_ms_median, None, ""),
        ("delay per token, ms, p99", lambda p: p.delay_ms_p99, _PACED_DELAY_MS, " ms"),
        ("server CPU us per token", lambda p: p.cpu_us_per_token, None, ""),
        ("memory KB per stream", lambda p: p.memory_kb_per_stream, _PACED_MEMORY_KB, " KB"),
    ]
    for title, figure, target, unit in measures:
        values = {name: figure(each) for name, each in paced.items()}
        checks = [] if target is None else [_at_most(values.get("service", math.nan), target, unit)]
        if title.startswith("memory"):
            values.pop("direct", None)
        yield Line(f"{TARGET_STREAMS} streams at {TOKENS_PER_SECOND}/s, {title}", values, checks)


def _queue_lines(figures: Figures) -> Iterator[Line]:
    short, long = QUEUE_LENGTHS
    for waiting in QUEUE_LENGTHS:
        costs = {name: costs[waiting] for name, costs in figures.queue_cpu_us.items()}
        yield Line(f"{waiting:,} requests waiting: server CPU us", costs)
    growth = {name: costs[long] / costs[short] for name, costs in figures.queue_cpu_us.items()}
    ratio = growth.get("service", math.nan)
    check = Check(f"<= {_FLAT:g} x", ratio, ratio <= _FLAT, " x")
    yield Line(f"{long:,} requests waiting / {short} waiting", growth, [check])


def _worker_lines(figures: Figures) -> Iterator[Line]:
    for work, title in _WORK_TITLES.items():
        rates = {workers: works[work]["rate"] for workers, works in figures.workers.items() if work in works}
        if rates:
            yield Line(f"{title}: 2 workers / 1 worker", {figures.workers_of: rates[2] / rates[1]})


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    if value == 0 or abs(value) >= 100:  # noqa: PLR2004
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"  # noqa: PLR2004


def table(figures: Figures) -> str:
    """Return the table as text."""
    rows: list[tuple[str, ...]] = [("measure", *COLUMNS, "target", "reached", "")]
    for line in lines(figures):
        cells = [_number(line.values.get(name, math.nan)) for name in COLUMNS]
        checks = [(c.target, f"{_number(c.reached)}{c.unit}", c.verdict) for c in line.checks] or [("", "", "")]
        rows.append((line.title, *cells, *checks[0]))
        rows += [("", *[""] * len(COLUMNS), *more) for more in checks[1:]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, tuple("─" * width for width in widths))
    last_number = len(COLUMNS)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if 1 <= column <= last_number else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def caveats(figures: Figures, used_by_others: float) -> list[str]:
    """Return what was not measured, and what limits the accuracy of the rest."""
    found = [f"not measured - {what}" for what in figures.not_measured]
    if math.isnan(used_by_others):
        found.append("not measured - CPU and memory: this system has no /proc")
    elif used_by_others > 0.05:  # noqa: PLR2004
        found.append(f"the machine was not idle: other programs used {used_by_others:.0%} of the CPU time")
    found += _limited_by_upstream(figures)
    found.append(f"load: {CONNECTIONS} connections; clients, upstream and server share the processors")
    found.append("paced streams: the delay includes that of the client, see column direct")
    return found


def _limited_by_upstream(figures: Figures) -> Iterator[str]:
    """Yield a caveat for each kind of work at which the upstream may limit a contender's throughput."""
    for work, title in _WORK_TITLES.items():
        rates = {name: works[work]["rate"] for name, works in figures.throughput.items() if work in works}
        ceiling = rates.pop("direct", math.inf)
        names = [name for name, rate in rates.items() if rate > ceiling / 2]
        if names:
            yield f"{title}: the upstream may limit {', '.join(names)} (over half of its own rate)"


def to_json(figures: Figures, machine: Mapping[str, str], used_by_others: float) -> str:
    """Return all results as JSON."""
    checks = [
        {"measure": line.title, **asdict(c), "verdict": c.verdict} for line in lines(figures) for c in line.checks
    ]
    document = {
        "machine": machine,
        "used_by_others": used_by_others,
        "checks": checks,
        "figures": asdict(figures),
        "caveats": caveats(figures, used_by_others),
    }
    return json.dumps(_without_nan(document), indent=2, ensure_ascii=False) + "\n"


def _without_nan(value: object) -> object:
    """Replace NaN, which JSON does not support, by None."""
    if isinstance(value, Mapping):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def write(directory: Path, text: str) -> Path:
    """Write `results.json`, replacing that of the last run."""
    directory.mkdir(exist_ok=True)
    path = directory / "results.json"
    path.write_text(text)
    return path

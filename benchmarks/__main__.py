"""Benchmark the service against a simple FastAPI service and nginx: `python -m benchmarks [--quick]`."""

import argparse
import resource
import sys
from dataclasses import replace
from pathlib import Path

import uvloop

from benchmarks import machine, plot, report
from benchmarks.plan import ALL, QUICK, Plan, measure

RESULTS = Path(__file__).with_name("results")
_FILES_NEEDED = 8192


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute instead of about ten")
    parser.add_argument("--only", nargs="+", choices=ALL, default=ALL, metavar="NAME", help=f"some of {', '.join(ALL)}")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where results.json and streams.png go")
    return parser.parse_args()


def _raise_file_limit() -> None:
    """Raise the limit of open files, for this process and its children: a thousand clients need as many sockets."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES_NEEDED if hard == resource.RLIM_INFINITY else min(_FILES_NEEDED, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def main() -> int:
    """Run the benchmarks, and print and write the results; return 1 if the service could not be measured."""
    arguments = _arguments()
    _raise_file_limit()
    quietness = machine.Quietness()
    plan: Plan = replace(QUICK if arguments.quick else Plan(), contenders=arguments.only)
    figures = uvloop.run(measure(plan))
    used_by_others, facts = quietness.used_by_others(), machine.describe()

    print("\n" + ", ".join(f"{name} {fact}" for name, fact in facts.items()) + "\n")
    print(report.table(figures) + "\n")
    for caveat in report.caveats(figures, used_by_others):
        print(f"* {caveat}")
    path = report.write(arguments.output, report.to_json(figures, facts, used_by_others))
    picture = path.with_name("streams.png")
    print(f"* {plot.draw(figures, picture) or f'plot: {picture}'}")
    print(f"* figures: {path}")
    return 0 if set(arguments.only) & {"service"} <= figures.throughput.keys() else 1


if __name__ == "__main__":
    sys.exit(main())

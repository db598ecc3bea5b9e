"""Description of the machine, and how busy it was with other programs."""

import math
import os
import platform
import resource
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.contenders import NGINX
from benchmarks.load import WRK
from benchmarks.usage import machine_busy_seconds

_PACKAGES = ("fastapi", "starlette", "uvicorn", "aiohttp", "pydantic", "uvloop", "httptools", "orjson")


def describe() -> dict[str, str]:
    """Return the processor, the operating system and the versions of relevant software."""
    facts = {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "load": _first_line([WRK, "-v"]) if WRK else "bundled asyncio client",
        "nginx": _first_line([NGINX, "-v"]) if NGINX else "not installed",
    }
    for package in _PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stderr.strip() or done.stdout.strip()).partition("\n")[0].partition(" Copyright")[0]


class Quietness:
    """Measures how much CPU time other programs use, from its creation on."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._busy = machine_busy_seconds()
        self._own = _own_seconds()

    def used_by_others(self) -> float:
        """Return the share (0..1) of the CPU time of all processors used by other programs; NaN if unknown.

        Call it after all child processes have ended, as their time is only known then.
        """
        others = machine_busy_seconds() - self._busy - (_own_seconds() - self._own)
        capacity = (time.monotonic() - self._started) * (os.cpu_count() or 1)
        return max(0.0, others / capacity) if not math.isnan(others) else math.nan


def _own_seconds() -> float:
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)

"""CPU time and memory of a process and its children, from `/proc`.

Without `/proc`, which only Linux has, all values are NaN; the report shows them as not measured.
"""

import math
import os
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def process_tree(pid: int) -> list[int]:
    """Return a process and its running descendants."""
    pids = [pid]
    for children in _PROC.glob(f"{pid}/task/*/children"):
        for child in children.read_text().split():
            pids.extend(process_tree(int(child)))
    return pids


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process tree."""
    try:
        return sum(_own_cpu_seconds(each) for each in process_tree(pid))
    except OSError:
        return math.nan


def _own_cpu_seconds(pid: int) -> float:
    # The command name may contain spaces and parentheses, so count the fields after its closing parenthesis.
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    utime, stime = int(fields[11]), int(fields[12])
    return (utime + stime) / _TICKS_PER_SECOND


def resident_bytes(pid: int) -> float:
    """Return the resident memory of a process tree."""
    try:
        return sum(_own_resident_bytes(each) for each in process_tree(pid))
    except OSError:
        return math.nan


def _own_resident_bytes(pid: int) -> float:
    status = (_PROC / str(pid) / "status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def machine_busy_seconds() -> float:
    """Return the busy time of all processors together."""
    try:
        fields = [int(field) for field in (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:]]
    except OSError:
        return math.nan
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) / _TICKS_PER_SECOND

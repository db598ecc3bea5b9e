"""SIGTERM and SIGINT during startup as PID 1, which ignores signals without a handler."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.service_process import END_SECONDS, ROOT, free_port

UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
START_SECONDS = 1.5


def can_unshare() -> bool:
    return (
        shutil.which("unshare") is not None
        and subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0
    )


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def catches(pid: int, number: int) -> bool:
    """Return whether a process has a handler for a signal."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt:")]
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)


@contextmanager
def starting_service(cwd: Path, prefix: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    environment = {"PATH": os.environ["PATH"], "SERVICE_ENV_FILE": os.devnull, "PORT": str(free_port())}
    environment["SHUTDOWN_DELAY"] = "0"
    with (
        (cwd / "log").open("wb") as log,
        subprocess.Popen([*prefix, sys.executable, ROOT / "main.py"], cwd=cwd, env=environment, stderr=log) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.skipif(not can_unshare(), reason="needs unshare(1) and the right to make a PID namespace")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_startup_ends_pid_1(number: signal.Signals, tmp_path: Path) -> None:
    moments = [0.0, 0.05, *(random.uniform(0, START_SECONDS) for _ in range(6))]
    for moment in moments:
        with starting_service(tmp_path, UNSHARE) as unshare:
            give_up_at = time.monotonic() + END_SECONDS
            while not (found := children(unshare.pid)) or not catches(found[0], signal.SIGTERM):
                assert time.monotonic() < give_up_at
                time.sleep(0.002)
            time.sleep(moment)
            os.kill(found[0], number)
            assert unshare.wait(END_SECONDS) == 0, (moment, (tmp_path / "log").read_text())
            assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_signal_handlers_are_installed_before_the_imports(tmp_path: Path) -> None:
    with starting_service(tmp_path, []) as process:
        give_up_at = time.monotonic() + END_SECONDS
        while not catches(process.pid, signal.SIGTERM):
            assert time.monotonic() < give_up_at
            time.sleep(0.001)
        loaded = Path(f"/proc/{process.pid}/maps").read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(END_SECONDS) == 0
    assert "pydantic_core" not in loaded

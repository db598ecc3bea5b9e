"""Node.js projects that tests build and run: installed by `npm ci`, once."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

INSTALL_SECONDS = 300


def node() -> str:
    """Return the path of Node.js, or skip the test."""
    path = shutil.which("node")
    if path is None or shutil.which("npm") is None:
        pytest.skip("needs Node.js 20.9 or newer, and npm")
    return path


def install(project: Path) -> None:
    """Run `npm ci` unless the packages of the lock file are installed."""
    node()
    installed, lock = project / "node_modules" / ".package-lock.json", project / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        run(project, "npm", "ci", "--no-audit", "--no-fund", seconds=INSTALL_SECONDS)


def run(project: Path, *command: str, seconds: float) -> str:
    """Run a command in the project and return its output; a failure fails the test."""
    environment = {**os.environ, "NEXT_TELEMETRY_DISABLED": "1"}
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, f"{' '.join(command)}\n{output}"
    return output

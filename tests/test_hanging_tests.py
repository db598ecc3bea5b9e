"""A test that hangs fails or ends the run, and all threads are shown."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NEXT = "\n\ndef test_next():\n    pass\n"

COROUTINE = """
import asyncio

async def test_hang():
    await asyncio.Event().wait()
"""
COROUTINE_ON_UVLOOP = """
import asyncio
import pytest

@pytest.mark.asyncio(loop_factories=["uvloop"])
@pytest.mark.every_loop
async def test_hang():
    await asyncio.Event().wait()
"""
FIXTURE_OF_A_FAILED_TEST = """
import threading
import pytest

@pytest.fixture
def stuck():
    yield
    threading.Event().wait()

def test_hang(stuck):
    raise AssertionError
"""


def run(directory: Path, test: str) -> tuple[int, str]:
    """Run a test with a timeout of one second, and another test after it."""
    (directory / "test_hang.py").write_text(test + NEXT)
    options: list[str | Path] = [
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        "-c",
        ROOT / "pyproject.toml",
        "-o",
        "timeout=1",
    ]
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pytest",
        *options,
        "--rootdir",
        directory,
        directory / "test_hang.py",
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_a_test_that_hangs_fails_and_the_next_one_runs(tmp_path: Path) -> None:
    code, output = run(tmp_path, COROUTINE)
    assert code == 1
    assert "Failed: Timeout (>1.0s)" in output
    assert "Stack of " in output
    assert "1 failed, 1 passed" in output


@pytest.mark.parametrize("test", [COROUTINE_ON_UVLOOP, FIXTURE_OF_A_FAILED_TEST], ids=["uvloop", "fixture"])
def test_a_test_that_cannot_be_interrupted_ends_the_run(tmp_path: Path, test: str) -> None:
    code, output = run(tmp_path, test)
    assert code == 1
    assert "test_hang.py::test_hang does not end" in output
    assert "Current thread" in output
    assert f'{tmp_path}/test_hang.py", line' in output

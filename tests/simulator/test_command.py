"""`python -m simulator`."""

import os
import signal
import socket
import subprocess
import sys

from tests.service_process import ROOT


def run_simulator(port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "simulator", "--port", str(port), "--seconds-per-token", "0", "--load-seconds", "0"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def test_the_command_prints_its_url_and_exits_on_sigterm() -> None:
    with run_simulator(0) as process:
        assert process.stderr is not None
        assert "SIMULATED OLLAMA" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""


def test_the_command_reports_a_port_in_use_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with run_simulator(port) as process:
            assert process.wait(10) == 1
            assert process.stderr is not None
            (line,) = process.stderr.read().splitlines()
    assert str(port) in line
    assert "the port is in use" in line

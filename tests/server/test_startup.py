"""Log lines at startup, and errors that prevent it."""

import asyncio
import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from main import create_app
from server.listening import is_loopback, listen_problem
from services.ollama_service import OllamaService
from simulator import Simulator
from tests.conftest import MakeSettings
from tests.kinds import until
from tests.service_process import ROOT, START_SECONDS, free_port, run_service, unreachable
from tests.serving import serve

SECRET = "hush-hush-hush-hush"


def start(cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python main.py` with settings that prevent the start."""
    variables = {"PATH": os.environ["PATH"], "SERVICE_ENV_FILE": os.devnull, "PORT": str(free_port())}
    return subprocess.run(
        [sys.executable, ROOT / "main.py"],
        cwd=cwd,
        env=variables | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_the_env_file_and_changed_settings_are_logged(simulator: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "settings"
    file.write_text(f"API_KEYS={SECRET},another-{SECRET}\nOLLAMA_API_KEY={SECRET}\nTOP_P=0.5\nMAX_TOKEN=1\nPROT=9\n")
    async with run_service(simulator.url, tmp_path, service_env_file=file, max_tokens=7) as service:
        log = service.log
    assert f"settings from the environment and {file}" in log
    (changed,) = re.findall("settings that differ from the defaults: (.*)", log)
    assert changed.split() == [
        f"OLLAMA_BASE_URL={simulator.url}",
        "OLLAMA_API_KEY=(secret)",
        "MAX_TOKENS=7",
        "TOP_P=0.5",
        "SHUTDOWN_DELAY=0.0",
        "API_KEYS=(2",
        "secrets)",
        f"PORT={service.port}",
    ]
    assert "API keys are required: 2 are set" in log
    assert f"{file} line 4: MAX_TOKEN is not a setting; did you mean MAX_TOKENS?" in log
    assert f"{file}: not settings of this service, ignored: PROT" in log
    assert SECRET not in log


async def test_missing_and_misspelt_api_keys_are_logged(simulator: Simulator, tmp_path: Path) -> None:
    upstream = simulator.url.replace("://", f"://user:{SECRET}@")
    async with run_service(upstream, tmp_path, api_key=SECRET) as service:
        log = service.log
    assert "no API_KEYS are set: any program on this machine can use the service" in log
    assert "API_KEY is set but is not a setting; did you mean API_KEYS?" in log
    assert SECRET not in log


async def test_each_worker_logs_missing_api_keys(simulator: Simulator, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"web_concurrency": 2, "pythonwarnings": "default::UserWarning", "host": "0.0.0.0"}
    async with run_service(simulator.url, tmp_path, **settings) as service:
        async with asyncio.timeout(START_SECONDS):
            while service.log.count("no API_KEYS are set: anyone who can reach 0.0.0.0 can use the service") < 2:
                await asyncio.sleep(0.05)


async def test_keys_next_to_the_code_apply_in_any_working_directory(
    simulator: Simulator, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    folder = tmp_path / "service"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "tests", "docs", "benchmarks", "__pycache__"))
    (folder / ".env").write_text(f"API_KEYS={SECRET}\n")
    async with run_service(simulator.url, tmp_path, folder / "main.py", service_env_file="") as service:
        async with client.get(f"{service.url}/api/ollama/models") as response:
            assert response.status == 401
        headers = {"X-API-Key": SECRET}
        async with client.get(f"{service.url}/api/ollama/models", headers=headers) as response:
            assert response.status == 200


def test_keys_in_a_line_that_cannot_be_parsed_stop_the_start_with_one_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('TOP_P=0.5\nAPI_KEYS="hush1","hush2"\n')
    ended = start(tmp_path, SERVICE_ENV_FILE="")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"{tmp_path / '.env'} line 2: text after the closing quote of API_KEYS")


def test_an_env_file_that_cannot_be_read_stops_the_start_with_one_line(tmp_path: Path) -> None:
    ended = start(tmp_path, SERVICE_ENV_FILE="missing")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.endswith("which does not exist")


def test_a_host_that_cannot_be_listened_on_stops_the_start_with_one_line(tmp_path: Path) -> None:
    ended = start(tmp_path, HOST="x86_64-conda-linux-gnu")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line == listen_problem("x86_64-conda-linux-gnu", 8000)


@pytest.mark.parametrize("host", ["x86_64-conda-linux-gnu", "192.0.2.1", "2001:db8::1"])
def test_a_host_that_cannot_be_listened_on_is_reported(host: str) -> None:
    line = listen_problem(host, free_port())
    assert line is not None
    assert line.startswith(f"HOST got {host!r}, expected an address or host name of this machine: ")
    assert "\n" not in line


def test_a_port_in_use_stops_the_start_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = start(tmp_path, PORT=str(port))
    assert ended.returncode == 1
    assert ended.stderr == f"Port {port} of 127.0.0.1 is in use. Stop the other program, or set another PORT.\n"


def test_a_bad_number_of_processes_stops_the_start_with_one_line(tmp_path: Path) -> None:
    ended = start(tmp_path, WEB_CONCURRENCY="two")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("WEB_CONCURRENCY got 'two', expected ")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_hosts_that_can_be_listened_on(host: str) -> None:
    assert listen_problem(host, free_port()) is None


def test_a_privileged_port_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    problem = listen_problem("127.0.0.1", 80)
    assert problem == "PORT got 80, expected a port that this user may listen on, such as 8000: Permission denied."


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("LocalHost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback_hosts(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


async def test_ollama_is_probed_although_nobody_asks_for_it(
    make_settings: MakeSettings, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.startup.PROBE_SECONDS", 0.02)
    app = create_app(make_settings())
    service: OllamaService = app.state.ollama_service
    async with serve(app):
        await until(lambda: service.stats().is_reachable)
        await simulator.stop()
        await until(lambda: not service.stats().is_reachable)
        await simulator.start()
        await until(lambda: service.stats().is_reachable)


async def test_a_worker_ends_with_its_parent_process(simulator: Simulator, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"web_concurrency": 2, "pythonwarnings": "default::UserWarning"}
    async with run_service(simulator.url, tmp_path, **settings) as service:
        service.process.send_signal(signal.SIGKILL)
        await service.exit_code()
        await unreachable(service.url)

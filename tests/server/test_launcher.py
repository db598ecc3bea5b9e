"""The launcher of `make run`: choice of the upstream, output and process lifetimes."""

import asyncio
import os
import re
import shutil
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from server.launcher import is_ollama_running
from simulator import Simulator
from tests.service_process import START_SECONDS, free_port

ROOT = Path(__file__).parent.parent.parent
DEFAULT_OLLAMA = "http://127.0.0.1:11434"
DEAD_PROXY = "http://127.0.0.1:9"

without_ollama = pytest.mark.skipif(
    is_ollama_running(DEFAULT_OLLAMA), reason="Ollama runs on port 11434, so the simulator is not started"
)
with_terminal = pytest.mark.skipif(shutil.which("setsid") is None, reason="needs setsid(1)")


@asynccontextmanager
async def launched(
    cwd: Path, *, prefix: tuple[str, ...] = (), terminal: int | None = None, **environment: str
) -> AsyncIterator[Process]:
    """Run the launcher, with a terminal as its standard input if one is given."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from server.launcher import main; sys.exit(main())"
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # `nohup` ignores it, and children inherit that
    process = await asyncio.create_subprocess_exec(
        *prefix,
        sys.executable,
        "-c",
        code,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "SHUTDOWN_DELAY": "0"} | environment,
        stdin=terminal,
        stdout=PIPE,
        stderr=STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.communicate()


async def version_behind(port: int) -> str:
    """Wait until the service on this port is up, and return the version of its Ollama."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(START_SECONDS):
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/health") as response:
                    version: str = (await response.json())["ollama"]["version"]
                    return version
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


async def test_a_configured_ollama_is_used(simulator: Simulator, tmp_path: Path) -> None:
    port = free_port()
    async with launched(tmp_path, PORT=str(port), OLLAMA_BASE_URL=simulator.url) as process:
        assert await version_behind(port) == "0.0.0-simulator"
        assert simulator.calls_to("/api/version")
        process.send_signal(signal.SIGTERM)
        out, _ = await process.communicate()
    assert process.returncode == 0
    assert b"S I M U L A T O R" not in out


async def simulator_behind(process: Process) -> str:
    """Wait until the launcher's simulator runs, and return its URL."""
    assert process.stdout is not None
    async with asyncio.timeout(START_SECONDS):
        while True:
            line = (await process.stdout.readline()).decode()
            assert line, "it ended"
            if match := re.search(r"SIMULATED OLLAMA on (http://\S+):", line):
                return match[1]


async def rest_of_output(process: Process) -> str:
    """Return the remaining output, until all processes that can write it have ended."""
    assert process.stdout is not None
    async with asyncio.timeout(START_SECONDS):
        return (await process.stdout.read()).decode()


@without_ollama
async def test_without_ollama_the_simulator_is_started_announced_and_stopped(tmp_path: Path) -> None:
    port = free_port()
    async with launched(tmp_path, PORT=str(port)) as process:
        assert await version_behind(port) == "0.0.0-simulator"
        process.send_signal(signal.SIGTERM)
        out, _ = await process.communicate()  # it ends when all processes that have the pipe have ended
    assert process.returncode == 0
    assert b"S I M U L A T O R" in out


async def test_the_error_for_a_port_in_use_suggests_a_fix(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with launched(tmp_path, PORT=str(port)) as process:
            out, _ = await process.communicate()
    assert process.returncode == 1
    assert f"Port {port} of 127.0.0.1 is in use" in out.decode()


async def test_a_bad_setting_stops_the_start_with_one_line(tmp_path: Path) -> None:
    async with launched(tmp_path, OLLAMA_MAX_CONNECTIONS="none") as process:
        out, _ = await process.communicate()
    assert process.returncode == 1
    (line,) = out.decode().splitlines()
    assert line.startswith("OLLAMA_MAX_CONNECTIONS got 'none', expected a whole number")


async def test_a_foreign_host_is_not_reported_as_a_port_in_use(tmp_path: Path) -> None:
    async with launched(tmp_path, HOST="192.0.2.1") as process:
        out, _ = await process.communicate()
    assert process.returncode == 1
    (line,) = out.decode().splitlines()
    assert line.startswith("HOST got '192.0.2.1', expected an address or host name of this machine")


# No process is left behind


@without_ollama
async def test_a_killed_launcher_leaves_no_process_behind(tmp_path: Path) -> None:
    port = free_port()
    async with launched(tmp_path, PORT=str(port)) as process:
        simulator = await simulator_behind(process)
        await version_behind(port)
        process.kill()
        await rest_of_output(process)
        await process.wait()
    for url in (simulator, f"http://127.0.0.1:{port}"):
        assert not await asyncio.to_thread(is_ollama_running, url)


@without_ollama
async def test_a_launcher_killed_during_the_start_of_the_simulator_leaves_no_process_behind(tmp_path: Path) -> None:
    async with launched(tmp_path, PORT=str(free_port())) as process:
        async with asyncio.timeout(START_SECONDS):
            while not children(process.pid):
                await asyncio.sleep(0.005)
        process.kill()
        await rest_of_output(process)


@without_ollama
@with_terminal
@pytest.mark.parametrize("how", ["closed", "interrupted"])
async def test_no_process_outlives_the_terminal(how: str, tmp_path: Path) -> None:
    port = free_port()
    master, slave = os.openpty()
    try:
        async with launched(tmp_path, prefix=("setsid", "--ctty"), terminal=slave, PORT=str(port)) as process:
            await simulator_behind(process)
            await version_behind(port)
            os.close(slave)
            if how == "closed":
                os.close(master)
            else:
                os.write(master, b"\x03")
            out = await rest_of_output(process)
            code = await process.wait()
        assert code == (-signal.SIGHUP if how == "closed" else 0)
        assert "Traceback" not in out
    finally:
        if how == "interrupted":
            os.close(master)


@without_ollama
async def test_a_failed_start_stops_the_simulator_and_returns_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "uvicorn.py").write_text("raise SystemExit(7)\n")
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    async with launched(tmp_path, PORT=str(free_port()), PYTHONPATH=path) as process:
        await simulator_behind(process)
        await rest_of_output(process)
        assert await process.wait() == 7


@without_ollama
async def test_a_killed_simulator_is_reported_as_an_unavailable_ollama(
    tmp_path: Path, client: aiohttp.ClientSession
) -> None:
    port = free_port()
    async with launched(tmp_path, PORT=str(port)) as process:
        await simulator_behind(process)
        await version_behind(port)
        (simulator,) = children(process.pid)
        os.kill(simulator, signal.SIGKILL)
        async with client.get(f"http://127.0.0.1:{port}/health") as response:
            assert response.status == 503
        process.send_signal(signal.SIGTERM)
        await rest_of_output(process)
        assert await process.wait() == 0


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# Proxies in the environment


async def test_ollama_is_detected_without_the_proxy(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", DEAD_PROXY)
    assert await asyncio.to_thread(is_ollama_running, simulator.url)


@without_ollama
async def test_the_simulator_is_detected_without_the_proxy(tmp_path: Path) -> None:
    port = free_port()
    async with launched(tmp_path, PORT=str(port), http_proxy=DEAD_PROXY, HTTP_PROXY=DEAD_PROXY) as process:
        assert await version_behind(port) == "0.0.0-simulator"
        process.send_signal(signal.SIGTERM)
        await process.communicate()


async def test_a_server_without_http_is_not_ollama() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert not await asyncio.to_thread(is_ollama_running, f"http://127.0.0.1:{port}")

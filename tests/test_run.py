"""`make run`, as far as its launcher goes: which upstream, and what it says."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from scripts.run import answers
from simulator import Simulator

ROOT = Path(__file__).parent.parent
DEFAULT_OLLAMA = "http://127.0.0.1:11434"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def launched(cwd: Path, **environment: str) -> AsyncIterator[Process]:
    """Run the launcher where no `.env` of the developer's is found."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from scripts.run import main; sys.exit(main())",
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=PIPE,
        stderr=STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def version_behind(port: int) -> str:
    """Wait until the service on this port is up, and return the version of its Ollama."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(20):
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/health") as response:
                    version: str = (await response.json())["ollama"]["version"]
                    return version
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


async def test_a_named_ollama_is_used(simulator: Simulator, tmp_path: Path) -> None:
    port = free_port()
    async with launched(tmp_path, PORT=str(port), OLLAMA_BASE_URL=simulator.url) as process:
        assert await version_behind(port) == "0.0.0-simulator"
        assert simulator.calls_to("/api/version")
        process.send_signal(signal.SIGTERM)
        out, _ = await process.communicate()
    assert process.returncode == 0
    assert b"S I M U L A T O R" not in out


@pytest.mark.skipif(answers(DEFAULT_OLLAMA), reason="an Ollama answers on 11434, so the simulator is not started")
async def test_without_an_ollama_the_simulator_is_started_and_announced_and_ends_too(tmp_path: Path) -> None:
    port = free_port()
    async with launched(tmp_path, PORT=str(port)) as process:
        assert await version_behind(port) == "0.0.0-simulator"
        process.send_signal(signal.SIGTERM)
        out, _ = await process.communicate()  # at its end, all who held its output have ended
    assert process.returncode == 0
    assert b"S I M U L A T O R" in out


async def test_a_port_in_use_is_named_with_what_to_do(tmp_path: Path) -> None:
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
    assert line.startswith("OLLAMA_MAX_CONNECTIONS got 'none', takes a valid integer")

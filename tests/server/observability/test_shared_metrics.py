"""Metrics of several server processes."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp
import pytest

from simulator import Simulator
from tests.kinds import WHOLE, see
from tests.prometheus import OPERATIONS, REQUESTS, scrape
from tests.server.test_startup import start
from tests.service_process import run_service, unreachable


async def test_two_processes_tell_the_same(simulator: Simulator, tmp_path: Path) -> None:
    async with run_service(simulator.url, tmp_path, web_concurrency=2, tmpdir=tmp_path) as service:
        for _ in range(20):
            async with aiohttp.ClientSession() as client:  # a new connection, which either process may get
                assert (await see(WHOLE.ask(client, service.url))).status == 200

        async def shows(processes: int) -> bool:
            async with aiohttp.ClientSession() as client:
                shown = await scrape(client, service.url)
            answers = shown.value(REQUESTS, http_route="/api/ollama/generate"), shown.value(OPERATIONS)
            limits = shown.value("ollama_service_running_limit"), shown.value("ollama_service_queue_limit")
            return answers == (20, 20) and limits == (processes * 10, processes * 100)

        async def all_show(processes: int) -> None:
            async with asyncio.timeout(60):
                while not all([await shows(processes) for _ in range(8)]):
                    await asyncio.sleep(0.1)

        await all_show(processes=2)
        (directory,) = tmp_path.glob("ollama-service-metrics-*")  # noqa: ASYNC240 - quick
        worker = int(next(directory.glob("gauge_livesum_*.db")).stem.rpartition("_")[2])
        os.kill(worker, signal.SIGKILL)  # what it has counted stays, its places go until the next process has come
        await all_show(processes=1)
        service.terminate()
        await unreachable(service.url)
        assert await service.exit_code() == 0
        assert not directory.exists()


@pytest.mark.parametrize(("kind", "workers"), [("missing", "1"), ("missing", "2"), ("file", "1")])
def test_a_directory_that_cannot_be_used_prevents_the_start(tmp_path: Path, kind: str, workers: str) -> None:
    directory = tmp_path / "shared"
    if kind == "file":
        directory.touch()
    ended = start(tmp_path, PROMETHEUS_MULTIPROC_DIR=str(directory), WEB_CONCURRENCY=workers)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"PROMETHEUS_MULTIPROC_DIR got '{directory}', expected a directory")

"""The Grafana dashboard and Prometheus alerts during outages."""

import asyncio
import json
import random
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.conftest import MakeSettings
from tests.deploy.prometheus_server import FIRST_TOKEN_SECONDS, OBSERVABILITY, Prometheus, run_prometheus
from tests.kinds import EMBEDDINGS, STREAMED_SSE, WHOLE, see
from tests.raw_http import connect
from tests.serving import serve

NO_PROMTOOL = "promtool was not found: apt install prometheus"
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason=NO_PROMTOOL)
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus was not found: apt install prometheus"
)
QUIET_SECONDS = 0.2  # for an answer when all is well
SLOW_SECONDS = FIRST_TOKEN_SECONDS * 1.2
REJECTED_SECONDS = 0.1
SLOTS = 8
DIAGNOSES = {
    "OllamaFirstTokenSlow",
    "OllamaTokensSlow",
    "OllamaUnreachable",
    "OllamaServiceOverloaded",
    "OllamaQueueFilling",
    "OllamaModelStuck",
}
PATIENCE_SECONDS = 40


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")],
    ids=lambda arguments: " ".join(arguments[:2]),
)
async def test_promtool(arguments: tuple[str, ...]) -> None:
    process = await asyncio.create_subprocess_exec(
        "promtool",
        *arguments,
        cwd=OBSERVABILITY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


def panel_queries() -> list[tuple[str, str]]:
    """Return the title of each panel with each of its queries, the dashboard's variables filled in."""
    dashboard = json.loads((OBSERVABILITY / "dashboard.json").read_text())
    found = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", [])]
    return [
        (title, expr.replace("$job", "ollama-service").replace("$__rate_interval", "1500ms")) for title, expr in found
    ]


class Load:
    """Clients that ask again and again, for complete responses, as a backend does."""

    def __init__(self, client: aiohttp.ClientSession, url: str) -> None:
        self._client = client
        self._url = url
        self._tasks: list[asyncio.Task[None]] = []

    async def set(self, clients: int) -> None:
        """Have so many clients from now on."""
        leaving, self._tasks = self._tasks[clients:], self._tasks[:clients]
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        while len(self._tasks) < clients:
            self._tasks.append(asyncio.create_task(self._ask()))

    async def _ask(self) -> None:
        await asyncio.sleep(SLOW_SECONDS * random.random())  # so that responses come at all times
        while True:
            seen = await see(WHOLE.ask(self._client, self._url))
            await asyncio.sleep(0 if seen.status == 200 else REJECTED_SECONDS)


@asynccontextmanager
async def loaded(client: aiohttp.ClientSession, url: str) -> AsyncIterator[Load]:
    load = Load(client, url)
    await load.set(SLOTS - 2)
    try:
        yield load
    finally:
        await load.set(0)


async def until_firing(prometheus: Prometheus, alerts: set[str]) -> tuple[float, float]:
    """Wait until of the diagnoses these fire and no others; return when the wait began and ended."""
    began = time.time()
    firing: set[str] = set()
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (firing := await prometheus.firing() & DIAGNOSES) != alerts:
                await asyncio.sleep(0.05)
    assert firing == alerts
    return began, time.time()


async def highest(prometheus: Prometheus, title: str, during: tuple[float, float]) -> float:
    """Return the highest value that a panel shows in a time."""
    values: list[float] = []
    for query in [query for found, query in panel_queries() if found == title]:
        for series in await prometheus.values(query, *during):
            values += [float(value) for _, value in series["values"]]
    return max(value for value in values if value == value)  # noqa: PLR0124 - leaves NaN out


async def fired_from(prometheus: Prometheus, alert: str, start: float) -> list[float]:
    """Return the times at which an alert fired."""
    query = f'ALERTS{{alertname="{alert}", alertstate="firing"}}'
    found: list[Any] = [series["values"] for series in await prometheus.values(query, start, time.time())]
    return [at for values in found for at, _ in values]


@needs_prometheus
async def test_dashboard_and_alerts_tell_what_is_wrong_and_since_when(
    make_settings: MakeSettings, client: aiohttp.ClientSession, simulator: Simulator, tmp_path: Path
) -> None:
    settings = make_settings(ollama_max_connections=SLOTS, ollama_queue_size=8, ollama_down_cooldown=0.3)
    start = time.time()

    def answer_after(seconds: float) -> None:
        simulator.clear_faults()
        simulator.fault(Fault(path="/api/generate", delay_seconds=seconds, times=None))

    async with (
        serve(create_app(settings)) as url,
        run_prometheus(url, tmp_path, client) as prometheus,
        loaded(client, url) as load,
    ):
        answer_after(QUIET_SECONDS)
        await see(EMBEDDINGS.ask(client, url))
        await see(STREAMED_SSE.ask(client, url, model="unknown"))
        async with connect(url) as connection:
            await connection.send(b"what\r\n\r\n")
            assert (await connection.answer()).status == 400
        await asyncio.sleep(1)

        answer_after(SLOW_SECONDS)
        slow = await until_firing(prometheus, {"OllamaFirstTokenSlow"})
        answer_after(QUIET_SECONDS)
        await until_firing(prometheus, set())

        await simulator.stop()
        stopped = await until_firing(prometheus, {"OllamaUnreachable"})
        await simulator.start()
        await until_firing(prometheus, set())

        await load.set(SLOTS * 4)
        overloaded = await until_firing(prometheus, {"OllamaServiceOverloaded", "OllamaQueueFilling"})
        await load.set(SLOTS - 2)
        back = await until_firing(prometheus, set())

        for alert, (began, ended) in (
            ("OllamaFirstTokenSlow", slow),
            ("OllamaUnreachable", stopped),
            ("OllamaServiceOverloaded", overloaded),
        ):
            times = await fired_from(prometheus, alert, start)
            assert began <= min(times) <= ended + 1
            assert max(times) <= back[1]
        slowest = await highest(prometheus, "First token", slow)
        assert slowest > FIRST_TOKEN_SECONDS
        assert await highest(prometheus, "First token", overloaded) < slowest
        assert await highest(prometheus, "Queue taken", overloaded) > 0.5
        assert await highest(prometheus, "Queue taken", stopped) < 0.5
        assert await highest(prometheus, "Requests are refused", stopped) == 1
        assert await highest(prometheus, "Requests are refused", overloaded) == 0
        shown = [(title, await prometheus.values(query, start, back[1])) for title, query in panel_queries()]
        assert [title for title, series in shown if not series] == []

"""A real Prometheus that scrapes one address, with the rules of `deploy/observability` in a time of their own."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.service_process import ROOT, free_port

OBSERVABILITY = ROOT / "deploy" / "observability"
SCRAPE_SECONDS = 0.2
MINUTES_PER_SECOND = 3
"""Windows and waits of the rules are so much shorter: five minutes pass in 1.7 seconds."""
FIRST_TOKEN_SECONDS = 1.3
"""In place of the twenty seconds of the rules."""
DURATION = re.compile(r"(?<=\[)(\d+)m(?=\])|(?<=for: )(\d+)m\b")


class Prometheus:
    """A running server."""

    def __init__(self, url: str, client: aiohttp.ClientSession) -> None:
        self._url = url
        self._client = client

    async def _get(self, path: str, **params: object) -> Any:
        async with self._client.get(f"{self._url}/api/v1/{path}", params={k: str(v) for k, v in params.items()}) as it:
            document = await it.json()
            assert document["status"] == "success", document
            return document["data"]

    async def firing(self) -> set[str]:
        """Return the names of the alerts that fire now."""
        alerts = (await self._get("alerts"))["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    async def values(self, query: str, start: float, end: float) -> list[dict[str, Any]]:
        """Return the series that a query gives between two Unix times."""
        found: list[dict[str, Any]] = (
            await self._get("query_range", query=query, start=start, end=end, step=SCRAPE_SECONDS)
        )["result"]
        return found


def _quick_rules() -> str:
    def shorter(found: re.Match[str]) -> str:
        return f"{round(int(found[1] or found[2]) * 1000 / MINUTES_PER_SECOND)}ms"

    rules = DURATION.sub(shorter, (OBSERVABILITY / "rules.yml").read_text())
    assert "p95_5m > 20\n" in rules
    return rules.replace("p95_5m > 20\n", f"p95_5m > {FIRST_TOKEN_SECONDS}\n")


@asynccontextmanager
async def run_prometheus(target: str, directory: Path, client: aiohttp.ClientSession) -> AsyncIterator[Prometheus]:
    """Run Debian's Prometheus until the block ends."""
    config = (OBSERVABILITY / "prometheus.yml").read_text()
    config = config.replace("15s", f"{round(SCRAPE_SECONDS * 1000)}ms")
    config = config.replace("127.0.0.1:8000", target.removeprefix("http://"))
    (directory / "prometheus.yml").write_text(config)
    (directory / "rules.yml").write_text(_quick_rules())
    port = free_port()
    with (directory / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--query.lookback-delta=1s",
            stderr=log,
            stdout=log,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        await _is_ready(url, process, client)
        yield Prometheus(url, client)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _is_ready(url: str, process: asyncio.subprocess.Process, client: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(30):
        while True:
            assert process.returncode is None
            try:
                async with client.get(f"{url}/-/ready") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)

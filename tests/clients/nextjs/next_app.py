"""The Next.js example as it is deployed: built once, then `next start` in a process of its own."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.clients.node_project import install, node, run
from tests.service_process import ROOT

EXAMPLE = ROOT / "examples" / "nextjs"
BUILD_SECONDS = 300
START_SECONDS = 30
LOCAL_ADDRESS = re.compile(r"Local: +(http://\S+)")
SOURCES = ("app", "components", "lib", "package-lock.json", "next.config.ts", "tsconfig.json")


class NextApp:
    """A running `next start`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self.url = ""
        self._log = log
        self._read = 0

    @property
    def log(self) -> str:
        """Its output since it was ready, or since `forget_log`."""
        return self._log.read_text()[self._read :]

    def forget_log(self) -> None:
        """Exclude the output so far from `log`."""
        self._read = len(self._log.read_text())


def build() -> None:
    """Install and build the example, unless the last build is newer than its sources."""
    install(EXAMPLE)
    build_id = EXAMPLE / ".next" / "BUILD_ID"
    files = [file for source in SOURCES for file in [EXAMPLE / source, *(EXAMPLE / source).rglob("*")]]
    if not build_id.exists() or build_id.stat().st_mtime < max(file.stat().st_mtime for file in files):
        run(EXAMPLE, "npm", "run", "build", seconds=BUILD_SECONDS)


@asynccontextmanager
async def run_next(service_url: str, directory: Path, key: str = "") -> AsyncIterator[NextApp]:
    """Run the built example against a service, and yield it when it responds."""
    log = directory / "next.log"
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    variables = {"NEXT_TELEMETRY_DISABLED": "1", "OLLAMA_SERVICE_URL": service_url, "OLLAMA_SERVICE_KEY": key}
    arguments = ("node_modules/next/dist/bin/next", "start", "--hostname", "127.0.0.1", "--port", "0")
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            node(), *arguments, cwd=EXAMPLE, env=inherited | variables, stdout=output, stderr=output
        )
    app = NextApp(process, log)
    try:
        await _answers(app)
        app.forget_log()
        yield app
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _answers(app: NextApp) -> None:
    async with asyncio.timeout(START_SECONDS):
        while not (address := LOCAL_ADDRESS.search(app.log)) or "Ready in" not in app.log:
            assert app.process.returncode is None, app.log
            await asyncio.sleep(0.05)
    app.url = address[1]
    async with aiohttp.ClientSession() as client, client.get(app.url) as response:
        assert response.status == 200

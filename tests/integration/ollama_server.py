"""Ollama server for the tests, with its own home folder and models."""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import aiohttp

from tests.service_process import free_port

START_SECONDS = 60.0
STOP_SECONDS = 10.0


def ollama_binaries() -> list[str]:
    """Return the programs that OLLAMA_TEST_BINARIES names, else the `ollama` on the PATH, or "" if there is none."""
    named = os.environ.get("OLLAMA_TEST_BINARIES", "").split(os.pathsep)
    return [path for path in named if path] or [shutil.which("ollama") or ""]


class OllamaServer:
    """An `ollama serve` on a loopback port, which is kept across `kill()` and `start()`.

    Args:
        executable: Path of `ollama`.
        folder: For its home, models and log; several servers can use it one after the other.
    """

    def __init__(self, executable: str, folder: Path) -> None:
        self._executable = executable
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start it and wait until it responds.

        Raises:
            RuntimeError: if it exits or does not respond in time.
        """
        self._process = process = self._launch()
        deadline = time.monotonic() + START_SECONDS
        while not await self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"`ollama serve` did not start: {self._last_words()}")
            await asyncio.sleep(0.05)

    def _launch(self) -> subprocess.Popen[bytes]:
        with (self._folder / "ollama.log").open("ab") as log:
            # In its own session, so that its runners can be killed together with it.
            return subprocess.Popen(
                [self._executable, "serve"],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill it and its runners."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """Terminate it, or kill it if it does not exit."""
        try:
            self._signal(signal.SIGTERM)
        finally:
            self.kill()

    def _signal(self, number: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        try:
            os.killpg(process.pid, number)
            process.wait(STOP_SECONDS)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            return

    def _environment(self) -> dict[str, str]:
        # Without the user's own settings of Ollama.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OLLAMA_")}
        return inherited | {
            "HOME": str(self._folder),
            "OLLAMA_HOST": f"127.0.0.1:{self._port}",
            "OLLAMA_MODELS": str(self._folder / "models"),
            "OLLAMA_NUM_PARALLEL": "1",
            "OLLAMA_KEEP_ALIVE": "10m",
            "OLLAMA_NO_CLOUD": "1",
        }

    async def _answers(self) -> bool:
        # The socket accepts connections before the server responds, so wait for a response.
        timeout = aiohttp.ClientTimeout(total=1)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"{self.url}/api/version") as response,
            ):
                return response.ok
        except (aiohttp.ClientError, TimeoutError):
            return False

    def _last_words(self) -> str:
        return (self._folder / "ollama.log").read_text(errors="replace")[-2000:]

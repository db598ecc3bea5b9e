"""Start an Ollama server of the tests' own, with its own home and models, and end it."""

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
    """An `ollama serve` on a loopback port, which it keeps over `kill()` and `start()`.

    Args:
        executable: The `ollama` to run.
        folder: Holds its home, its models and its log; several servers can share one after another.
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
        """Start it and wait until it answers.

        Raises:
            RuntimeError: if it ends or does not answer in time.
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
            # A session of its own, so that the runners it starts can be ended together with it.
            return subprocess.Popen(
                [self._executable, "serve"],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it and its runners at once, with no time to say goodbye."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """End it as a user would, or by force when it does not listen."""
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
        # Nothing of the user's own Ollama settings.
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
        # The socket is open before the server serves: only an answer counts, and it needs a deadline.
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

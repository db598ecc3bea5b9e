"""The `ollama` package of Node."""

import asyncio
import os
import re
from pathlib import Path

import pytest

from simulator import Fault, Simulator
from tests.clients.conftest import API_KEY
from tests.clients.node_project import install, node
from tests.kinds import until
from tests.service_process import ServiceProcess

PROJECT = Path(__file__).parent / "ollama_js"
FILE = "ollama.test.js"
NAMES = re.findall(r'^test\("(.+?)"', (PROJECT / FILE).read_text(), re.MULTILINE)
FAULTS = {
    "an error in midstream": Fault(error_after=3, message="it broke"),
    "a cut in midstream": Fault(reset_after=3),
    "leaving": Fault(endless=True),
}
SECONDS = 60


@pytest.mark.parametrize("name", NAMES)
async def test_ollama_js(name: str, service: ServiceProcess, simulator: Simulator) -> None:
    await asyncio.to_thread(install, PROJECT)
    if name in FAULTS:
        simulator.seconds_per_token = 0.005
        simulator.fault(FAULTS[name])
    command = (node(), "--test", "--test-reporter=tap", f"--test-name-pattern=/^{re.escape(name)}$/", FILE)
    variables = {"URL": service.url, "KEY": API_KEY, "PATH": os.environ["PATH"]}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=PROJECT, env=variables, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(SECONDS):
        output, _ = await process.communicate()
    assert re.search(rb"^# pass 1$", output, re.MULTILINE), output.decode()
    if name == "leaving":
        (call,) = simulator.calls_to("/api/chat")
        await until(call.ended_event.is_set)
        assert call.outcome == "client_gone"

"""The `openai` package of Node, and the AI SDK with its openai-compatible provider."""

import asyncio
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from simulator import Fault, Simulator
from tests.clients.conftest import API_KEY
from tests.clients.scenarios import (
    BREAKS_IN_MIDSTREAM,
    BROKEN,
    EMBEDDING_MODEL,
    MODEL,
    NEVER_ENDS,
    QUESTION,
    SCHEMA,
    TOOL,
    UNKNOWN_MODEL,
    UPSTREAM,
)
from tests.service_process import ServiceProcess

FOLDER = Path(__file__).parent / "js"
FAULTS = {"failure in midstream": BREAKS_IN_MIDSTREAM, "not tried again": BROKEN, "leaving": NEVER_ENDS}
TESTS = [
    pytest.param(file.name, name, id=f"{file.name.partition('.')[0]}-{name}")
    for file in sorted(FOLDER.glob("*.test.js"))
    for name in re.findall(r'^test\("(.+?)"', file.read_text(), re.MULTILINE)
]

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js, 20 or newer"),
    pytest.mark.skipif(not (FOLDER / "node_modules").is_dir(), reason="needs `npm ci` (make test-clients)"),
]


@pytest.mark.parametrize(("file", "name"), TESTS)
async def test_node(file: str, name: str, service: ServiceProcess, simulator: Simulator) -> None:
    fault: Fault | None = FAULTS.get(name)
    if fault is not None:
        simulator.seconds_per_token = 0.005
        simulator.fault(fault)
    output = await run_node(file, name, service)
    assert re.search(r"^# pass 1$", output, re.MULTILINE), output
    if fault is not None:
        (call,) = simulator.calls_to(UPSTREAM)
        assert call.outcome == ("client_gone" if fault is NEVER_ENDS else "completed")


async def run_node(file: str, name: str, service: ServiceProcess) -> str:
    """Run one test of a file and return its output."""
    variables = {
        "URL": f"{service.url}/v1",
        "KEY": API_KEY,
        "MODEL": MODEL,
        "UNKNOWN_MODEL": UNKNOWN_MODEL,
        "EMBEDDING_MODEL": EMBEDDING_MODEL,
        "QUESTION": QUESTION,
        "SCHEMA": json.dumps(SCHEMA),
        "TOOL": json.dumps(TOOL),
        "PATH": os.environ["PATH"],
    }
    command = ("node", "--test", "--test-reporter=tap", f"--test-name-pattern=/^{re.escape(name)}$/", file)
    process = await asyncio.create_subprocess_exec(
        *command, cwd=FOLDER, env=variables, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()

"""The Python client that openapi-python-client generates from openapi.json."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import aiohttp
import pytest

CHECK = Path(__file__).with_name("openapi_python_client_check.py")
GENERATOR = Path(sys.executable).with_name("openapi-python-client")


async def run(folder: Path, *command: str | Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "MYPYPATH": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


@pytest.mark.skipif(not GENERATOR.exists(), reason="needs openapi-python-client")
async def test_generated_types_are_correct_and_calls_work(
    url: str, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with client.get(f"{url}/openapi.json") as response:
        (tmp_path / "openapi.json").write_bytes(await response.read())
    (tmp_path / "config.yml").write_text("post_hooks: []\n")
    shutil.copy(CHECK, tmp_path / "check.py")
    arguments = "--path openapi.json --output-path service_client --meta none --config config.yml"
    await run(tmp_path, GENERATOR, "generate", *arguments.split(), "--fail-on-warning")
    await run(tmp_path, sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "check.py")
    await run(tmp_path, sys.executable, "check.py", url)

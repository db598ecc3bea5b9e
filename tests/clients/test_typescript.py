"""The TypeScript types that openapi-typescript generates from openapi.json, used with openapi-fetch."""

import asyncio
import json
import os
from pathlib import Path

import aiohttp

from tests.clients.node_project import install, node, run

PROJECT = Path(__file__).parent / "typescript"
BUILD = PROJECT / "build"
SECONDS = 120


async def test_a_strict_program_compiles_and_its_types_match_the_responses(
    url: str, client: aiohttp.ClientSession
) -> None:
    install(PROJECT)
    BUILD.mkdir(exist_ok=True)
    async with client.get(f"{url}/openapi.json") as response:
        (BUILD / "openapi.json").write_bytes(await response.read())
    await asyncio.to_thread(compile_check)
    process = await asyncio.create_subprocess_exec(
        node(), "build/check.js", cwd=PROJECT, env={**os.environ, "SERVICE_URL": url}, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    found = json.loads(output)
    assert found["text"].startswith("[simulated gpt-oss]")
    called, last = found["conversation"]
    assert called == ["get_weather"]
    assert last.startswith("[simulated llama3.1]")
    assert found["stream"][0] == "start"
    assert found["stream"][-1] == "done"
    assert found["missing"][0] == "model_not_found"
    assert "gpt-oss" in found["missing"][1]
    assert "gpt-oss" in found["models"]
    assert found["dimension"] == 768


def compile_check() -> None:
    generator, compiler = "node_modules/openapi-typescript/bin/cli.js", "node_modules/typescript/bin/tsc"
    run(PROJECT, node(), generator, "build/openapi.json", "-o", "build/api.d.ts", seconds=SECONDS)
    run(PROJECT, node(), compiler, "--project", ".", seconds=SECONDS)

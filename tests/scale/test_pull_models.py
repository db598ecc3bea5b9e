"""The script that pulls the models, with the real `ollama` command and a server that only knows how to pull."""

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.service_process import END_SECONDS, ROOT

SCRIPT = ROOT / "deploy" / "k8s" / "base" / "pull-models.sh"
LAYERS = ("6a0746a1ec1a", "4fa551d4f938")
MODELS = ["gpt-oss", "llama3.1", "nomic-embed-text"]
PARTS = 40

pytestmark = pytest.mark.skipif(shutil.which("ollama") is None, reason="needs the ollama command")


class Registry:
    """A server; a model whose name is in `missing` cannot be pulled."""

    def __init__(self) -> None:
        self.address = ""
        self.pulled: list[str] = []
        self.missing: set[str] = set()

    async def pull(self, request: web.Request) -> web.StreamResponse:
        """Respond as Ollama does while it downloads two layers."""
        body = await request.json()
        name = body.get("model") or body["name"]  # depends on the version of the command
        self.pulled.append(name)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)

        async def say(**fields: object) -> None:
            await response.write(json.dumps(fields).encode() + b"\n")

        await say(status="pulling manifest")
        if name in self.missing:
            await say(error="pull model manifest: file does not exist")
            return response
        for layer in LAYERS:
            for part in range(PARTS + 1):
                digest = f"sha256:{layer}{'0' * 52}"
                await say(status=f"pulling {layer}", digest=digest, total=PARTS * 10**6, completed=part * 10**6)
                await asyncio.sleep(0.01)
        await say(status="success")
        return response


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    """A running server."""
    made = Registry()
    application = web.Application()

    async def no_models(_: web.Request) -> web.Response:
        return web.json_response({"models": []})

    application.router.add_get("/", no_models)
    application.router.add_get("/api/tags", no_models)
    application.router.add_post("/api/pull", made.pull)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.address = site.name.removeprefix("http://")
    yield made
    await runner.cleanup()


async def run(servers: str, home: Path) -> tuple[int, str]:
    """Run the script; return its exit code and what it wrote."""
    default, quality, embedding = MODELS
    models = {"DEFAULT_MODEL": default, "QUALITY_MODEL": quality, "EMBEDDING_MODEL": embedding}
    process = await asyncio.create_subprocess_exec(
        "bash",
        SCRIPT,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "SERVERS": servers} | models,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(3 * END_SECONDS):
        written, _ = await process.communicate()
    return process.returncode or 0, written.decode()


async def test_the_models_are_pulled_to_every_server_with_their_progress(registry: Registry, tmp_path: Path) -> None:
    code, text = await run(f"{registry.address} {registry.address}", tmp_path)
    assert (code, registry.pulled) == (0, MODELS * 2)
    lines = text.splitlines()
    assert lines[-1] == "all models are there"
    progress = re.findall(r"^llama3\.1: layer \w+ (\d+) %$", text, re.MULTILINE)
    assert 2 <= len(progress) <= 4 * 11  # of two layers on two servers
    assert progress.count("100") == 4
    assert "\x1b" not in text


async def test_a_model_that_cannot_be_pulled_fails_loudly(registry: Registry, tmp_path: Path) -> None:
    registry.missing = {"llama3.1"}
    code, text = await run(registry.address, tmp_path)
    assert (code, registry.pulled) == (1, ["gpt-oss", "llama3.1"])
    assert "llama3.1: Error: pull model manifest: file does not exist" in text
    assert text.splitlines()[-1] == f"FAILED: llama3.1 was not pulled to {registry.address}"

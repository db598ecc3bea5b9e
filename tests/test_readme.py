"""The commands, code and tables of README.md and docs/ match the service."""

import ast
import asyncio
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config import Settings, get_settings
from routers.openapi import response_examples
from routers.responses.problems import PROBLEMS_BY_CODE
from services.ollama_service import ollama_service
from simulator import Simulator

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
EXAMPLE = ROOT / "examples" / "nextjs"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


def curl_commands() -> list[str]:
    lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("curl")]


def table_rows(document: str) -> Iterator[list[str]]:
    for line in (ROOT / "docs" / document).read_text().splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


async def output_of(*command: str, cwd: Path | None = None) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("command", curl_commands())
async def test_every_curl_command_works(command: str, url: str) -> None:
    text = await output_of("bash", "-c", command.replace("localhost:8000", url).replace("curl", "curl -sS --fail", 1))
    if "event-stream" in command:
        assert text.startswith("event: start\n")
        assert "event: done\n" in text
    else:
        answer = json.loads(text)
        assert answer.get("success", answer.get("status") == "healthy")


async def test_the_code_for_the_same_process_runs(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = [block for block in blocks("python") if "from services" in block]
    monkeypatch.setenv("OLLAMA_BASE_URL", simulator.url)
    get_settings.cache_clear()
    names: dict[str, Any] = {}
    try:
        await eval(compile(code, README, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)  # noqa: S307 - our own
    finally:
        await ollama_service.disconnect()
        get_settings.cache_clear()
    assert names["headline"].startswith("[simulated llama3.1]")
    assert len(names["vector"]) == 768
    assert capsys.readouterr().out.startswith("[simulated gpt-oss]")


def test_the_health_response_is_that_of_the_docs() -> None:
    (shown,) = [json.loads(block) for block in blocks("json") if "crewai_agents" in block]
    example = response_examples.HEALTHY["healthy"]["value"]
    assert shown == {name: example[name] for name in shown}


def test_the_route_handler_equals_the_one_in_the_example() -> None:
    (code,) = blocks("ts")
    assert code == (EXAMPLE / "app/api/chat/route.ts").read_text()


def test_the_settings_table_lists_each_setting_with_its_default() -> None:
    stated: dict[str, str] = {}
    for names, defaults, *_ in table_rows("settings.md"):
        keys = re.findall(r"`([A-Z_]+)`", names)
        values = re.findall(r"`([^`]*)`", defaults) or [""] * len(keys)
        stated |= dict(zip(keys, values, strict=True))
    absent = (None, ())
    actual = {
        name.upper(): "" if field.default in absent else str(field.default)
        for name, field in Settings.model_fields.items()
    }
    assert {name: comparable(value) for name, value in stated.items()} == {
        name: comparable(value) for name, value in actual.items()
    }


def comparable(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value.lower()


def test_the_errors_table_lists_each_code_with_its_status() -> None:
    stated: dict[str, int] = {}
    for codes, statuses, *_ in table_rows("errors.md"):
        stated |= dict(zip(re.findall(r"`(\w+)`", codes), map(int, statuses.split(",")), strict=True))
    assert stated == {code: status for code, (status, _) in PROBLEMS_BY_CODE.items()}

"""What the README says is run as written."""

import asyncio
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import Settings
from problems import TABLE
from simulator import Fault, Simulator
from tests.kinds import until

README = Path(__file__).parent.parent / "README.md"
HARNESS = """
import { POST } from "./route.mjs";
const controller = new AbortController();
const body = JSON.stringify({ messages: [{ role: "user", content: "Hi" }] });
const request = new Request("http://next/api/chat", { method: "POST", body, signal: controller.signal });
const answer = await POST(request);
let text = "";
try {
  for await (const piece of answer.body) {
    text += Buffer.from(piece).toString();
    if (process.argv[2] === "leave" && text.includes("event: token")) controller.abort();
  }
} catch (error) {
  if (error.name !== "AbortError") throw error;
}
console.log(JSON.stringify({ status: answer.status, type: answer.headers.get("Content-Type"), text }));
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


def curl_commands() -> list[str]:
    lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("curl")]


def table_rows(heading: str) -> Iterator[list[str]]:
    section = README.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    for line in section.splitlines():
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
async def test_every_curl_line_works(command: str, url: str) -> None:
    text = await output_of("bash", "-c", command.replace("localhost:8000", url).replace("curl", "curl -sS --fail", 1))
    if "event-stream" in command:
        assert text.startswith("event: start\n")
        assert "event: done\n" in text
    else:
        answer = json.loads(text)
        assert answer.get("success", answer.get("status") == "healthy")


def route_handler(folder: Path) -> None:
    (code,) = blocks("js")
    (folder / "route.mjs").write_text(code)
    (folder / "harness.mjs").write_text(HARNESS)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js, 20 or newer")
async def test_the_route_handler_passes_the_stream_on(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    route_handler(tmp_path)
    monkeypatch.setenv("OLLAMA_SERVICE_URL", url)
    answer = json.loads(await output_of("node", "harness.mjs", cwd=tmp_path))
    assert answer["status"] == 200
    assert answer["type"].startswith("text/event-stream")
    assert "event: done\n" in answer["text"]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js, 20 or newer")
async def test_the_route_handler_stops_the_model_when_its_reader_leaves(
    url: str, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    route_handler(tmp_path)
    monkeypatch.setenv("OLLAMA_SERVICE_URL", url)
    simulator.seconds_per_token = 0.001
    simulator.fault(Fault(endless=True))
    await output_of("node", "harness.mjs", "leave", cwd=tmp_path)
    (call,) = simulator.calls_to("/api/chat")
    await until(call.ended_event.is_set)
    assert call.outcome == "client_gone"


def test_the_settings_table_names_each_setting_with_its_default() -> None:
    stated: dict[str, str] = {}
    for names, defaults, *_ in table_rows("Settings"):
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


def test_the_errors_table_names_each_code_with_its_status() -> None:
    stated: dict[str, int] = {}
    for codes, statuses, *_ in table_rows("Errors"):
        stated |= dict(zip(re.findall(r"`(\w+)`", codes), map(int, statuses.split(",")), strict=True))
    assert stated == {code: status for code, (status, _) in TABLE.items()}

"""The image: its files, packages and Python, and its health check, run as Docker runs it."""

import asyncio
import json
import re
import shutil
import socket
import sys
from pathlib import Path

import pytest

from simulator import Simulator
from tests.service_process import ROOT, free_port, run_service

DEAD_PROXY = "http://127.0.0.1:9"


async def health_check(environment: dict[str, str]) -> int:
    """Return the exit code of the HEALTHCHECK in the Dockerfile."""
    found = re.search(r"^HEALTHCHECK .*\\\n\s+CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert found
    _python, *arguments = json.loads(found[1])
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait()


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("127.0.0.1", ""), ("0.0.0.0", ""), ("0.0.0.0", "api.example"), ("::", ""), ("::1", "api.example"), ("[::1]", "")],
)
async def test_the_health_check_finds_the_service(
    simulator: Simulator, host: str, allowed: str, tmp_path: Path
) -> None:
    if ":" in host and not has_ipv6():
        pytest.skip("needs IPv6")
    proxies = {"http_proxy": DEAD_PROXY, "HTTP_PROXY": DEAD_PROXY}
    async with run_service(simulator.url, tmp_path, host=host, allowed_hosts=allowed) as service:
        assert await health_check({"HOST": host, "PORT": str(service.port)} | proxies) == 0


async def test_the_health_check_fails_without_a_service() -> None:
    assert await health_check({"HOST": "127.0.0.1", "PORT": str(free_port())}) == 1


def pins(name: str) -> dict[str, str]:
    """Return the versions in a file of requirements."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / name).read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", ["requirements", "requirements-otel"])
def test_a_lock_has_the_versions_of_the_requirements_and_hashes(name: str) -> None:
    required, locked = pins("requirements.txt") | pins(f"{name}.txt"), pins(f"{name}.lock")
    assert required.items() <= locked.items(), "run `make lock`"
    blocks = re.split(r"^(?=[\w.-]+==)", (ROOT / f"{name}.lock").read_text(), flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)


def test_its_python_is_the_first_that_the_tests_run_on() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    tested = re.search(r'python: \["([\d.]+)"', workflow)
    built = re.search(r"^FROM python:([\d.]+)-", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert tested
    assert built
    assert built[1] == tested[1]


def is_sent(path: Path, patterns: list[str]) -> bool:
    """Return whether `.dockerignore` lets Docker see a file: the last pattern that matches it or a parent decides."""
    parts = path.relative_to(ROOT).parts
    names = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    sent = True
    for pattern in patterns:
        escaped = re.escape(pattern.removeprefix("!").rstrip("/"))
        regex = escaped.replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
        if any(re.fullmatch(regex, name) for name in names):
            sent = pattern.startswith("!")
    return sent


def build_context() -> list[Path]:
    """Return the files that `docker build` sends."""
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    folders = [path for path in ROOT.iterdir() if path.is_dir() and is_sent(path / "any.py", patterns)]
    files = [path for folder in folders for path in folder.rglob("*")] + list(ROOT.iterdir())
    return [path for path in files if path.is_file() and is_sent(path, patterns)]


async def test_the_files_that_it_copies_are_all_that_the_service_needs(simulator: Simulator, tmp_path: Path) -> None:
    image = tmp_path / "app"
    image.mkdir()
    lines = re.findall(r"^COPY (.+) (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    context = build_context()
    for source, target in [(source, target) for sources, target in lines for source in sources.split()]:
        named = set(ROOT.glob(source))
        found = [path for path in context if not named.isdisjoint([path, *path.parents])]
        assert found, f".dockerignore hides {source}"
        for path in found:
            name = path.relative_to(ROOT / source) if (ROOT / source).is_dir() else path.name
            (image / target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, image / target / name)
    async with run_service(simulator.url, tmp_path, image / "main.py") as service:
        assert await health_check({"PORT": str(service.port)}) == 0
        service.terminate()
        assert await service.exit_code() == 0

"""The image's health check, run as Docker runs it."""

import asyncio
import json
import re
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

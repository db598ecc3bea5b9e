"""Import, startup, shutdown and custom exception handlers of `main.app`."""

import asyncio
import gc
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

import main
from main import create_app
from services.ollama.errors import ModelNotFoundError, OllamaError
from services.ollama_service import OllamaService
from simulator import Fault, Simulator
from tests.api import GENERATE, get, post, problem_in
from tests.conftest import MakeSettings
from tests.kinds import until
from tests.service_process import ROOT, run_service
from tests.serving import serve

# Import


def test_importing_main_runs_nothing(tmp_path: Path) -> None:
    # Python 3.12 starts with some frozen objects.
    code = (
        "import gc; frozen = gc.get_freeze_count(); import main; "
        "assert gc.get_freeze_count() == frozen; assert main.app.created is None"
    )
    environment = {"PYTHONPATH": str(ROOT), "MAX_TOKENS": "none", "PYTHONWARNINGS": "error"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, timeout=60, check=True)


async def test_main_app_is_one_app_for_any_server(
    simulator: Simulator, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = gc.get_freeze_count()
    monkeypatch.setenv("OLLAMA_BASE_URL", simulator.url)
    fresh = importlib.reload(main)
    assert callable(vars(fresh)["app"])  # as hypercorn imports it
    state = fresh.app.state
    assert isinstance(fresh.app.created, FastAPI)
    assert fresh.app.created.state is state
    async with serve(fresh.app) as url:
        assert (await get(client, f"{url}/health")).status == 200
    assert gc.get_freeze_count() == frozen


async def test_a_server_process_freezes_imported_objects(simulator: Simulator, tmp_path: Path) -> None:
    probe = tmp_path / "probe.py"
    probe.write_text(
        "import gc, runpy, sys, threading, time\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "frozen = gc.get_freeze_count()\n"
        "def report():\n"
        "    while gc.get_freeze_count() == frozen:\n"
        "        time.sleep(0.02)\n"
        "    open('frozen', 'w').close()\n"
        "threading.Thread(target=report, daemon=True).start()\n"
        f"runpy.run_path({str(ROOT / 'main.py')!r}, run_name='__main__')\n"
    )
    async with run_service(simulator.url, tmp_path, program=probe):
        await until((tmp_path / "frozen").exists)


# Lifespan


async def test_an_error_within_the_lifespan_closes_the_connections(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    app = create_app(make_settings(ollama_health_timeout=100))
    simulator.fault(Fault(path="/api/version", hang=True))
    with pytest.raises(LookupError):
        async with asyncio.timeout(5), app.router.lifespan_context(app):
            service: OllamaService = app.state.ollama_service
            assert await service.generate("llama3.1", "Hi")
            assert simulator.open_connections >= 1
            await simulator.received("/api/version")
            raise LookupError
    await until(lambda: simulator.open_connections == 0)
    assert [task for task in asyncio.all_tasks() if "log_upstream" in repr(task)] == []


# Exception handlers


class TeapotError(Exception):
    """An exception of another library."""


@pytest.fixture
def app(make_settings: MakeSettings) -> FastAPI:
    """An app with a route that raises the exception named in its query."""
    app = create_app(make_settings())
    errors = {"teapot": TeapotError("short and stout"), "bug": ZeroDivisionError("hush"), "http": HTTPException(418)}

    @app.get("/fail")
    async def fail(how: str) -> None:
        raise errors[how]

    return app


async def teapot(_request: Request, error: Exception) -> Response:
    return JSONResponse({"type": type(error).__name__}, 418)


def blocking_teapot(_request: Request, error: Exception) -> Response:
    return JSONResponse({"type": type(error).__name__}, 418)


@pytest.mark.parametrize("handler", [teapot, blocking_teapot])
async def test_a_custom_handler_creates_the_response(
    client: aiohttp.ClientSession, app: FastAPI, handler: Callable[..., Any]
) -> None:
    app.exception_handler(TeapotError)(handler)
    app.exception_handler(ModelNotFoundError)(handler)
    app.exception_handler(RequestValidationError)(handler)
    app.exception_handler(404)(handler)
    async with serve(app) as url:
        seen = [
            await get(client, f"{url}/fail?how=teapot"),
            await post(client, url, "generate", GENERATE | {"model": "unknown", "fallback": False}),
            await post(client, url, "generate", {"prompt": ""}),
            await get(client, f"{url}/nowhere"),
        ]
        problem_in(await get(client, f"{url}/api/ollama/generate"), "method_not_allowed")
    assert [(one.status, one.json()["type"]) for one in seen] == [
        (418, "TeapotError"),
        (418, "ModelNotFoundError"),
        (418, "RequestValidationError"),
        (418, "HTTPException"),
    ]
    assert all("X-Request-ID" in one.headers for one in seen)


async def test_a_handler_for_the_base_class_handles_all_ollama_errors(
    client: aiohttp.ClientSession, app: FastAPI, simulator: Simulator
) -> None:
    app.exception_handler(OllamaError)(teapot)
    simulator.fault(Fault(path="/api/generate", status=400, message="no"))
    async with serve(app) as url:
        seen = await post(client, url, "generate", GENERATE)
        problem_in(await post(client, url, "generate", {"prompt": ""}), "invalid_request")
    assert (seen.status, seen.json()["type"]) == (418, "RejectedByOllamaError")


@pytest.mark.parametrize("key", [500, Exception])
async def test_unexpected_errors_with_a_custom_handler_are_still_logged(
    client: aiohttp.ClientSession, app: FastAPI, caplog: pytest.LogCaptureFixture, key: type[Exception] | int
) -> None:
    app.exception_handler(key)(teapot)
    async with serve(app) as url:
        seen = await get(client, f"{url}/fail?how=bug")
        problem_in(await get(client, f"{url}/nowhere"), "not_found")
    assert (seen.status, seen.json()) == (418, {"type": "ZeroDivisionError"})
    (record,) = [record for record in caplog.records if record.exc_info]
    assert "unexpected error" in record.getMessage()


async def test_without_handlers_an_unexpected_error_is_an_internal_error(
    client: aiohttp.ClientSession, app: FastAPI
) -> None:
    async with serve(app) as url:
        problem_in(await get(client, f"{url}/fail?how=bug"), "internal_error")
        problem_in(await get(client, f"{url}/fail?how=teapot"), "internal_error")


# Systems without Unix modules


@pytest.fixture
def without_unix(tmp_path: Path) -> Path:
    """A program that starts the service without Unix-only modules and signals."""
    program = tmp_path / "elsewhere.py"
    program.write_text(
        "import runpy, signal, sys\n"
        "sys.modules |= dict.fromkeys(['fcntl', 'termios', 'uvloop', 'resource', 'pwd', 'grp', 'pty'])\n"
        "for name in ('SIGHUP', 'SIGKILL', 'SIGALRM', 'SIGUSR1', 'SIGUSR2', 'SIGQUIT'):\n"
        "    delattr(signal, name)\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        f"runpy.run_path({str(ROOT / 'main.py')!r}, run_name='__main__')\n"
    )
    return program


async def test_it_serves_without_fcntl_termios_and_uvloop(
    client: aiohttp.ClientSession, simulator: Simulator, tmp_path: Path, without_unix: Path
) -> None:
    async with run_service(simulator.url, tmp_path, program=without_unix) as service:
        for endpoint, body in (("generate", GENERATE), ("generate", GENERATE | {"stream": True})):
            assert (await post(client, service.url, endpoint, body)).status == 200
        service.terminate()
        assert await service.exit_code() == 0

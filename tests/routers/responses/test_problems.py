import logging
from typing import NoReturn

import aiohttp
import pytest

from main import create_app
from routers.dependencies import get_ollama_service
from routers.responses.problems import PROBLEMS_BY_CODE
from services.ollama import errors
from services.ollama.errors import OllamaError
from services.ollama_service import OllamaService
from tests.api import STATUSES, call, get, problem_in
from tests.conftest import MakeSettings
from tests.serving import serve


def test_every_code_has_its_documented_status() -> None:
    assert {code: status for code, (status, _) in PROBLEMS_BY_CODE.items()} == STATUSES


@pytest.mark.parametrize(
    "kind", [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, OllamaError)]
)
def test_every_exception_has_a_status(kind: type[OllamaError]) -> None:
    assert kind.code in PROBLEMS_BY_CODE


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/nowhere", "not_found"),
        ("POST", "/api/ollama/nowhere", "not_found"),
        ("GET", "/api/ollama/generate", "method_not_allowed"),
        ("POST", "/api/ollama/models", "method_not_allowed"),
        ("DELETE", "/health", "method_not_allowed"),
    ],
)
async def test_an_unknown_path_is_a_problem_document(
    client: aiohttp.ClientSession, url: str, method: str, path: str, code: str
) -> None:
    answer = await call(client, method, url + path)
    problem_in(answer, code)
    assert ("Allow" in answer.headers) is (code == "method_not_allowed")


async def test_a_bug_is_logged_with_its_traceback_and_never_shown(
    client: aiohttp.ClientSession, make_settings: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> NoReturn:
        raise RuntimeError("the secret of 127.0.0.1")

    app = create_app(make_settings())
    app.dependency_overrides[get_ollama_service] = broken
    async with serve(app) as url:
        answer = await get(client, f"{url}/api/ollama/models", headers={"X-Request-ID": "mine"})
        alive = await get(client, f"{url}/health/live")
    document = problem_in(answer, "internal_error")
    assert "secret" not in answer.body.decode()
    assert (document["retryable"], document["request_id"]) == (False, "mine")
    assert alive.status == 200
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert "the secret" in str(record.exc_info[1])


@pytest.mark.parametrize("error", [OllamaError("A sentence."), errors.OverloadedError("A sentence.")])
async def test_an_error_is_mapped_by_its_code(
    client: aiohttp.ClientSession, make_settings: MakeSettings, error: OllamaError
) -> None:
    def broken() -> OllamaService:
        raise error

    app = create_app(make_settings())
    app.dependency_overrides[get_ollama_service] = broken
    async with serve(app) as url:
        document = problem_in(await get(client, f"{url}/api/ollama/models"), error.code)
    assert (document["detail"], document["retryable"]) == ("A sentence.", error.retryable)

"""Requests generated from openapi.json get documented responses and cause no bug."""

import asyncio
from functools import cache
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.transport import Response

from main import create_app
from simulator import Fault, Simulator
from tests.api import STATUSES, openapi_document
from tests.conftest import MakeSettings
from tests.serving import serve

EXAMPLES = 20
EXAMPLES_OF_FAILURES = 10
NATIVE = [
    ("POST", "/api/chat"),
    ("POST", "/api/generate"),
    ("POST", "/api/embed"),
    ("POST", "/api/embeddings"),
    ("POST", "/api/show"),
    ("GET", "/api/tags"),
    ("GET", "/api/ps"),
    ("GET", "/api/version"),
]
OPERATIONS = [
    ("GET", "/api/ollama/models"),
    ("GET", "/api/ollama/models/{name}"),
    ("POST", "/api/ollama/generate"),
    ("POST", "/api/ollama/chat"),
    ("POST", "/api/ollama/embeddings"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{id}"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/embeddings"),
    *NATIVE,
    ("GET", "/health"),
    ("GET", "/health/ready"),
    ("GET", "/health/live"),
    ("GET", "/version"),
]
load_all_checks()
# Functions; the library's types do not distinguish them from its check classes.
DOCUMENTED: list[Any] = CHECKS.get_by_names(
    [
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    ]
)
WAYS = [
    (mode, *operation)
    for mode in GenerationMode
    for operation in OPERATIONS
    if not (
        mode is GenerationMode.NEGATIVE
        and (
            operation[1].startswith(("/health", "/v1/models", "/api/ollama/models/", "/version"))
            or operation in NATIVE[5:]
        )  # no invalid requests are possible
    )
]


def check_response(response: Response, method: str, path: str) -> None:
    assert response.headers["x-request-id"]
    if (method, path) in NATIVE:  # a 500 may be Ollama's own
        assert response.status_code == 200 or list(response.json()) == ["error"]
        assert "Internal error" not in response.text
        return
    assert response.status_code != 500, response.text
    if response.status_code >= 400 and not path.startswith("/health"):
        problem = response.json()
        if path.startswith("/v1"):
            problem = problem["error"]
            assert STATUSES[problem["code"]] == response.status_code
        else:
            assert problem["status"] == response.status_code
        assert problem["code"] != "internal_error"


@cache
def openapi_schema() -> Any:
    """Return the OpenAPI document with default settings, which takes long to load."""
    return schemathesis.openapi.from_dict(openapi_document())


def fuzz(url: str, method: str, path: str, mode: GenerationMode, examples: int = EXAMPLES) -> None:
    """Send generated requests to an operation; blocks, so it runs in a thread."""
    operation = openapi_schema()[path][method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    def run(case: schemathesis.Case[Any]) -> None:
        response = case.call(base_url=url, timeout=60)
        check_response(response, method, path)
        case.validate_response(response, checks=DOCUMENTED)

    run()


async def test_every_operation_is_fuzzed(url: str) -> None:
    schema = await asyncio.to_thread(schemathesis.openapi.from_url, f"{url}/openapi.json")
    found = [(method.upper(), path) for path in schema for method in schema[path]]
    assert sorted(found) == sorted(OPERATIONS)


@pytest.mark.parametrize(("mode", "method", "path"), WAYS)
async def test_generated_requests_get_documented_responses(
    url: str, mode: GenerationMode, method: str, path: str
) -> None:
    await asyncio.to_thread(fuzz, url, method, path, mode)


@pytest.mark.parametrize(("method", "path"), [operation for operation in OPERATIONS if operation not in NATIVE][:8])
async def test_responses_are_documented_when_ollama_fails(
    make_settings: MakeSettings, simulator: Simulator, method: str, path: str
) -> None:
    faults = [Fault(status=500), Fault(status=503), Fault(reset_after=0), Fault(body=b"<html>"), Fault(hang=True)]
    simulator.fault(Fault(path="/api/tags", status=500, times=3))
    for fault in faults * EXAMPLES_OF_FAILURES:
        simulator.fault(fault)
    quick = make_settings(ollama_request_timeout=0.05, ollama_retry_attempts=2, ollama_retry_backoff=0.001)
    async with serve(create_app(quick)) as url:
        await asyncio.to_thread(fuzz, url, method, path, GenerationMode.POSITIVE, EXAMPLES_OF_FAILURES)

"""`DirectRoute` behaves like FastAPI's own routes."""

from typing import Any

import aiohttp
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.routing import Mount

from main import create_app
from routers.dependencies import OllamaServiceDep, get_component_checks, get_ollama_service
from routers.direct_route import DirectRoute
from routers.schemas.ollama import GenerateRequest
from services.ollama_service import OllamaService
from simulator import Simulator
from tests.api import CHAT, COMPLETIONS, EMBEDDINGS, GENERATE, call, post, problem_in, succeed
from tests.conftest import MakeSettings
from tests.serving import serve

JSON = "application/json"
BODIES: list[tuple[str, bytes, str]] = [
    ("generate", b"", JSON),
    ("generate", b"[]", JSON),
    ("generate", b"null", JSON),
    ("generate", b'"text"', JSON),
    ("generate", b'{"prompt": "a"', JSON),
    ("generate", b'{"prompt": NaN}', JSON),
    ("generate", b'{"prompt": "\\ud800', JSON),
    ("generate", b'{"prompt": "", "stop": [1, 2]}', JSON),
    ("generate", b'{"prompt": "\xff"}', JSON),
    ("generate", b'{"prompt": 1e400}', JSON),
    ("generate", b"\xff\xfe", JSON),
    ("generate", b"[" * 5000, JSON),
    ("generate", b"{}", JSON),
    ("generate", b'{"prompt": ""}', JSON),
    ("generate", b'{"prompt": "a", "options": {"top_k": "many"}, "stop": [1], "unknown": 1}', JSON),
    ("generate", b'{"prompt": "a", "format": {"type": "nonsense"}}', JSON),
    ("generate", b'{"prompt": "a"}', "text/plain"),
    ("generate", b'{"prompt": "a"}', "application/octet-stream"),
    ("generate", b'{"prompt": "a"}', ""),
    ("generate", b'{"prompt": 1}', "application/vnd.api+json"),
    ("generate", b'{"prompt": 1}', "Application/JSON; charset=utf-8"),
    ("chat", b'{"messages": [{"role": "king", "content": 1}, {"content": "a"}]}', JSON),
    ("chat", b'{"messages": []}', JSON),
    ("embeddings", b'{"text": ["a", ""]}', JSON),
    ("embeddings", b'{"text": {}}', JSON),
]


async def answers_of(
    client: aiohttp.ClientSession, url: str, endpoint: str, body: bytes, media_type: str
) -> dict[str, Any]:
    headers = {"X-Request-ID": "same", "Content-Type": media_type}
    answer = await call(client, "POST", f"{url}/api/ollama/{endpoint}", data=body, headers=headers)
    return problem_in(answer, "invalid_request")


@pytest.mark.parametrize(("endpoint", "body", "media_type"), BODIES)
async def test_an_invalid_body_gets_the_same_errors_as_in_fastapi(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    simulator: Simulator,
    endpoint: str,
    body: bytes,
    media_type: str,
) -> None:
    direct, overridden = create_app(make_settings()), create_app(make_settings())
    overridden.dependency_overrides[get_component_checks] = get_component_checks  # so that FastAPI's handler is used
    async with serve(direct) as url:
        ours = await answers_of(client, url, endpoint, body, media_type)
    async with serve(overridden) as url:
        fastapis = await answers_of(client, url, endpoint, body, media_type)
    assert ours == fastapis
    assert not [seen for seen in simulator.calls if seen.method == "POST"]


@pytest.mark.parametrize(("endpoint", "body"), [*COMPLETIONS, ("embeddings", EMBEDDINGS)])
async def test_a_dependency_override_is_used(
    client: aiohttp.ClientSession, make_settings: MakeSettings, simulator: Simulator, endpoint: str, body: Any
) -> None:
    app = create_app(make_settings(ollama_base_url="http://127.0.0.1:9", ollama_retry_attempts=1))
    other = OllamaService(make_settings())
    app.dependency_overrides[get_ollama_service] = lambda: other
    async with serve(app) as url:
        await succeed(client, url, endpoint, body)
    await other.disconnect()
    assert [seen.method for seen in simulator.calls].count("POST") == 1


@pytest.mark.parametrize(("endpoint", "body"), [("generate", GENERATE), ("chat", CHAT), ("embeddings", EMBEDDINGS)])
async def test_routes_work_in_a_mounted_app(
    client: aiohttp.ClientSession, make_settings: MakeSettings, endpoint: str, body: Any
) -> None:
    app = create_app(make_settings())
    parent = Starlette(routes=[Mount("/ai", app)])
    async with serve(parent) as url:
        assert (await post(client, f"{url}/ai", endpoint, body)).status == 200
    await app.state.ollama_service.disconnect()


@pytest.mark.parametrize("path", ["/api/ollama/chat//", "/api/ollama/chats", "/ollama/chat", "/api/ollama/%63hat/x"])
async def test_only_the_exact_path_matches(client: aiohttp.ClientSession, url: str, path: str) -> None:
    problem_in(await call(client, "POST", url + path, json=CHAT), "not_found")


@pytest.mark.parametrize(("endpoint", "body"), [*COMPLETIONS, ("embeddings", EMBEDDINGS)])
async def test_telemetry_reports_the_route(
    client: aiohttp.ClientSession,
    make_settings: MakeSettings,
    monkeypatch: pytest.MonkeyPatch,
    endpoint: str,
    body: Any,
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    async with serve(create_app(make_settings())) as url:
        await succeed(client, url, endpoint, body)
    routes = [(span.attributes or {}).get("http.route") for span in exporter.get_finished_spans()]
    assert f"/api/ollama/{endpoint}" in routes


async def test_other_methods_are_405(client: aiohttp.ClientSession, url: str) -> None:
    answer = await call(client, "PUT", f"{url}/api/ollama/chat", json=CHAT)
    problem_in(answer, "method_not_allowed")
    assert answer.headers["Allow"] == "POST"


async def test_an_endpoint_with_other_parameters_is_a_type_error() -> None:
    async def malformed(body: GenerateRequest, service: OllamaServiceDep, accept: str) -> None: ...

    with pytest.raises(TypeError, match="malformed must have the parameters body, service and shutdown"):
        DirectRoute("/there", malformed, methods=["POST"])

"""`/metrics`: its series, and their limited number."""

import asyncio
import logging
import shutil
from typing import Any

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from pydantic import SecretStr

from main import create_app
from services.ollama_service import OllamaService
from simulator import Fault, Simulator
from tests.api import get, post
from tests.conftest import MakeSettings
from tests.kinds import (
    EMBEDDINGS,
    KINDS,
    MESSAGES,
    NATIVES,
    STREAMED_NDJSON,
    STREAMED_SSE,
    WHOLE,
    Kind,
    load_is,
    nothing_is_left,
    see,
)
from tests.prometheus import FIRST_CHUNKS, FIRST_TOKENS, OPERATIONS, REQUESTS, TOKENS, Shown, scrape
from tests.raw_http import connect
from tests.serving import serve

OPENAI = [
    Kind("openai-whole", "chat/completions", "/api/chat", MESSAGES, prefix="/v1"),
    Kind("openai-stream", "chat/completions", "/api/chat", MESSAGES | {"stream": True}, prefix="/v1"),
    Kind(
        "openai-embeddings",
        "embeddings",
        "/api/embed",
        {"input": "a league", "model": "nomic-embed-text"},
        prefix="/v1",
    ),
]
OPERATION = {"/api/chat": "chat", "/api/generate": "text_completion"}
MADE_UP = 10_000


async def until_shown(client: aiohttp.ClientSession, url: str, name: str, value: float, **labels: str) -> Shown:
    """Wait for the series to have a value; a request is counted a moment after its last byte."""
    async with asyncio.timeout(10):
        while (shown := await scrape(client, url)).value(name, **labels) != value:
            await asyncio.sleep(0.02)
    return shown


# What is counted


@pytest.mark.parametrize("kind", [*KINDS, *NATIVES, *OPENAI], ids=lambda kind: kind.name)
async def test_an_answer_of_each_kind_is_counted(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, kind: Kind
) -> None:
    assert (await see(kind.ask(client, url))).status == 200
    route = {"http_route": f"{kind.prefix}/{kind.path}", "http_request_method": "POST"}
    shown = await until_shown(client, url, REQUESTS, 1, **route)
    assert shown.value(REQUESTS, http_response_status_code="200", outcome="whole", error_type="", **route) == 1

    model = "nomic-embed-text" if kind.upstream.startswith("/api/embed") else "llama3.1"
    labels = {"gen_ai_request_model": model, "gen_ai_response_model": model, "gen_ai_provider_name": "ollama"}
    name = OPERATION.get(kind.upstream, "embeddings")
    assert shown.value(OPERATIONS) == 1
    assert shown.value(OPERATIONS, gen_ai_operation_name=name, error_type="", **labels) == 1
    assert shown.value(FIRST_CHUNKS, gen_ai_operation_name=name, **labels) == kind.is_stream
    assert shown.value("ollama_service_queue_wait_seconds_count") == 1
    assert len(simulator.calls_to(kind.upstream)) == 1
    if kind.upstream != "/api/embeddings":  # which tells no tokens
        assert shown.value(TOKENS, gen_ai_token_type="input", **labels) > 0
    if name != "embeddings":
        assert shown.value(TOKENS, gen_ai_token_type="output", **labels) > 0
        assert shown.value("gen_ai_server_time_per_output_token_seconds_count", **labels) == 1


@pytest.mark.parametrize("kind", [WHOLE, STREAMED_SSE, *NATIVES[:2], *OPENAI[:2]], ids=lambda kind: kind.name)
async def test_the_time_to_the_first_token_of_whole_answers_and_streams(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, kind: Kind
) -> None:
    simulator.fault(Fault(delay_seconds=0.2))
    assert (await see(kind.ask(client, url))).status == 200
    shown = await until_shown(client, url, f"{FIRST_TOKENS}_count", 1, gen_ai_response_model="llama3.1")
    assert 0.2 <= shown.value(f"{FIRST_TOKENS}_sum") < 5


async def test_a_stream_that_comes_in_one_piece_is_a_stream(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.fault(Fault(merge=True))
    assert (await see(NATIVES[1].ask(client, url))).status == 200
    await until_shown(client, url, FIRST_CHUNKS, 1)


async def test_a_head_that_cannot_be_read_is_counted(client: aiohttp.ClientSession, url: str) -> None:
    for head, status in ((b"what\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431)):
        async with connect(url) as connection:
            await connection.send(head)
            assert (await connection.answer()).status == status
    shown = await scrape(client, url)
    rejected = "ollama_service_rejected_heads_total"
    assert shown.value(rejected, http_response_status_code="400", error_type="bad_request") == 1
    assert shown.value(rejected, http_response_status_code="431", error_type="headers_too_large") == 1


async def test_tokens_are_those_of_the_answer(client: aiohttp.ClientSession, url: str) -> None:
    usage = (await see(WHOLE.ask(client, url))).json["usage"]
    native = (await see(NATIVES[2].ask(client, url))).json
    shown = await scrape(client, url)
    counted = [shown.value(TOKENS, gen_ai_token_type=one) for one in ("input", "output")]
    assert counted == [
        usage["prompt_tokens"] + native["prompt_eval_count"],
        usage["completion_tokens"] + native["eval_count"],
    ]


@pytest.mark.parametrize("kind", [STREAMED_SSE, NATIVES[1]], ids=lambda kind: kind.name)
async def test_a_stream_that_is_left(client: aiohttp.ClientSession, url: str, simulator: Simulator, kind: Kind) -> None:
    simulator.fault(Fault(stall_after=2))
    async with kind.ask(client, url) as response:
        await response.content.readany()
    shown = await until_shown(client, url, REQUESTS, 1, outcome="left", http_response_status_code="200")
    assert shown.value(OPERATIONS, error_type="cancelled", gen_ai_request_model="llama3.1") == 1
    assert shown.value(FIRST_CHUNKS) == 1


@pytest.mark.parametrize("kind", [STREAMED_NDJSON, NATIVES[1]], ids=lambda kind: kind.name)
async def test_a_stream_that_breaks(client: aiohttp.ClientSession, url: str, simulator: Simulator, kind: Kind) -> None:
    simulator.fault(Fault(reset_after=2))
    await see(kind.ask(client, url))
    failed = {"outcome": "failed", "error_type": "ollama_error"}
    shown = await until_shown(client, url, REQUESTS, 1, http_response_status_code="200", **failed)
    assert shown.value(OPERATIONS, error_type="ollama_error") == 1


async def test_retries_and_fallbacks(client: aiohttp.ClientSession, url: str, simulator: Simulator) -> None:
    simulator.fault(Fault(status=503, times=2))
    assert (await see(WHOLE.ask(client, url))).status == 200
    assert (await see(WHOLE.ask(client, url, model="unknown"))).status == 200
    shown = await until_shown(client, url, REQUESTS, 2, http_route="/api/ollama/generate")
    assert shown.value("ollama_service_retries_total") == 2
    assert shown.value("ollama_service_fallbacks_total", gen_ai_response_model="gpt-oss") == 1
    assert shown.value(OPERATIONS, gen_ai_request_model="_OTHER", gen_ai_response_model="gpt-oss") == 1


async def test_the_queue_and_who_is_refused_there(
    make_settings: MakeSettings, client: aiohttp.ClientSession, simulator: Simulator
) -> None:
    may_go_on = asyncio.Event()
    async with serve(create_app(make_settings(ollama_max_connections=1, ollama_queue_size=1))) as url:
        simulator.fault(Fault(until=may_go_on))
        asked = [asyncio.create_task(see(WHOLE.ask(client, url)))]
        await load_is(client, url, running=1)
        asked.append(asyncio.create_task(see(EMBEDDINGS.ask(client, url))))
        await load_is(client, url, running=1, queued=1)
        shown = await scrape(client, url)
        assert shown.value("ollama_service_requests_running") == shown.value("ollama_service_running_limit") == 1
        assert shown.value("ollama_service_requests_queued") == shown.value("ollama_service_queue_limit") == 1
        assert (await see(WHOLE.ask(client, url))).status == 503
        may_go_on.set()
        await asyncio.gather(*asked)
        shown = await until_shown(client, url, "ollama_service_requests_running", 0)
        assert shown.value(REQUESTS, error_type="overloaded", http_response_status_code="503") == 1
        assert shown.value(OPERATIONS) == 2
        assert shown.value("ollama_service_queue_wait_seconds_count") == 3
        assert shown.value("ollama_service_requests_queued") == 0


async def test_ollama_goes_and_comes_back(
    make_settings: MakeSettings, client: aiohttp.ClientSession, simulator: Simulator
) -> None:
    async with serve(create_app(make_settings(ollama_down_cooldown=0.05))) as url:
        assert (await see(WHOLE.ask(client, url))).status == 200
        shown = await scrape(client, url)
        assert shown.value("ollama_service_last_success_timestamp_seconds") > 1_700_000_000
        assert shown.value("ollama_service_models_installed") == 3
        assert 0 < shown.value("ollama_service_model_list_age_seconds") < 60
        for state, up in (("stopped", 0), ("started", 1)):
            await (simulator.stop() if state == "stopped" else simulator.start())
            await asyncio.sleep(0.1)
            assert (await see(WHOLE.ask(client, url))).status == (200 if up else 503)
            shown = await scrape(client, url)
            assert shown.value("ollama_service_ollama_up") == up
            assert shown.value("ollama_service_circuit_breaker_open") == 1 - up
        assert shown.value(REQUESTS, error_type="ollama_unavailable") == 1


async def test_calls_in_the_same_process_are_counted(
    make_settings: MakeSettings, client: aiohttp.ClientSession
) -> None:
    app = create_app(make_settings())
    service: OllamaService = app.state.ollama_service
    async with serve(app) as url:
        await asyncio.to_thread(lambda: asyncio.run(service.generate("llama3.1", "from another event loop")))
        shown = await scrape(client, url)
    assert shown.value(OPERATIONS, gen_ai_request_model="_OTHER", gen_ai_response_model="llama3.1") in {0, 1}
    assert shown.value(OPERATIONS) == 1
    assert shown.value(REQUESTS, http_request_method="POST") == 0


# What clients cannot do


async def test_made_up_models_and_paths_leave_the_series_as_they_are(
    client: aiohttp.ClientSession, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)

    async def make_up(first: int, last: int) -> None:
        for n in range(first, last):
            kind = NATIVES[n // 50 % 4] if n % 50 == 0 else WHOLE
            await see(kind.ask(client, url, model=f"made-up-{n}", **({} if kind in NATIVES else {"fallback": False})))
        methods = ("GET", "POST", "PROPFIND", "LOCK")
        async with connect(url) as connection:
            for n in range(first, last):
                await connection.send(
                    f"{methods[n % 4]} /made-up/{n}?{n} HTTP/1.1\r\nHost: service\r\nContent-Length: 0\r\n\r\n".encode()
                )
                assert (await connection.answer()).status == 404

    await make_up(0, 200)
    before = await until_shown(client, url, REQUESTS, 1, http_route="/metrics")
    await asyncio.gather(*(make_up(n, n + 500) for n in range(0, MADE_UP // 2, 500)))
    after = await scrape(client, url)
    assert after.value(REQUESTS) - before.value(REQUESTS) >= MADE_UP
    assert len(after.samples) == len(before.samples)
    assert after.labels(OPERATIONS, "gen_ai_request_model") == {"_OTHER"}
    assert not any("made-up" in value for _, labels, _ in after.samples for value in labels.values())


# How it is read


async def test_it_can_be_switched_off(make_settings: MakeSettings, client: aiohttp.ClientSession) -> None:
    async with serve(create_app(make_settings(metrics_enabled=False))) as url:
        assert (await see(WHOLE.ask(client, url))).status == 200
        assert (await get(client, f"{url}/metrics")).status == 404


async def test_it_needs_no_key_and_no_host_name(make_settings: MakeSettings, client: aiohttp.ClientSession) -> None:
    settings = make_settings(api_keys=(SecretStr("a-key"),), allowed_hosts=("service.example",))
    async with serve(create_app(settings)) as url:
        assert (await scrape(client, url)).value("ollama_service_ollama_up") == 1
        headers = {"Host": "rebound.example"}
        assert (await get(client, f"{url}/metrics", headers=headers)).status == 421


async def test_openmetrics_where_a_scraper_accepts_it(client: aiohttp.ClientSession, url: str) -> None:
    await see(WHOLE.ask(client, url))
    answer = await get(client, f"{url}/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    assert answer.media_type == "application/openmetrics-text"
    families: Any = text_string_to_metric_families(answer.body.decode())  # type: ignore[no-untyped-call]
    assert "gen_ai_client_operation_duration_seconds" in {family.name for family in families}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool was not found: apt install prometheus")
async def test_promtool_finds_nothing_to_complain_of(
    client: aiohttp.ClientSession, url: str, simulator: Simulator
) -> None:
    simulator.fault(Fault(status=503))
    for kind in (*KINDS, *NATIVES):
        await see(kind.ask(client, url))
    await post(client, url, "generate", {"prompt": "", "model": "unknown"})
    await nothing_is_left(client, url, simulator)
    metrics = (await get(client, f"{url}/metrics")).body
    process = await asyncio.create_subprocess_exec(
        "promtool",
        "check",
        "metrics",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    complaints, _ = await process.communicate(metrics)
    assert (process.returncode, complaints.decode()) == (0, "")

"""Graceful shutdown, as Docker and Kubernetes request it."""

import asyncio
import json
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from config import Settings
from main import create_app
from simulator import Fault, Simulator
from tests.kinds import (
    KINDS,
    PATIENCE_SECONDS,
    STREAMED_NDJSON,
    STREAMED_SSE,
    STREAMED_TEXT,
    WHOLE,
    Kind,
    Seen,
    check_one_last,
    see,
    sse_events,
    until,
)
from tests.service_process import END_SECONDS, ServiceProcess, free_port, run_service
from tests.serving import serve

TROUBLE = re.compile(r"Traceback|Warning:|Unclosed|unclosed|never retrieved|never awaited|was destroyed")
PING = b": ping\n\n"
LOUD = re.compile(TROUBLE.pattern + "| (WARNING|ERROR|CRITICAL) ")


async def ends_cleanly(
    service: ServiceProcess, seconds: float = PATIENCE_SECONDS, *, loud: re.Pattern[str] = LOUD
) -> None:
    assert await service.exit_code(seconds) == 0, service.log
    complaints = [line for line in service.log.splitlines() if loud.search(line)]
    assert complaints == [], service.log


async def ready(client: aiohttp.ClientSession, service: ServiceProcess) -> int:
    async with client.get(f"{service.url}/health/ready") as response:
        return response.status


async def ending(client: aiohttp.ClientSession, service: ServiceProcess, sig: signal.Signals = signal.SIGTERM) -> None:
    """Send the signal, and wait until it has an effect."""
    service.process.send_signal(sig)
    await no_longer_ready(client, service)


async def no_longer_ready(client: aiohttp.ClientSession, service: ServiceProcess) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await ready(client, service) != 503:
            await asyncio.sleep(0.01)


async def test_an_idle_service_ends_immediately(
    simulator: Simulator, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with run_service(simulator.url, tmp_path) as service:
        for kind in KINDS:
            assert (await see(kind.ask(client, service.url))).status == 200
        service.terminate()
        await ends_cleanly(service)
    await until(lambda: simulator.open_connections == 0)


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT], ids=lambda sig: sig.name)
async def test_streams_may_finish_while_new_requests_are_rejected(
    simulator: Simulator, client: aiohttp.ClientSession, tmp_path: Path, sig: signal.Signals
) -> None:
    simulator.seconds_per_token = 0.02
    async with run_service(simulator.url, tmp_path, shutdown_grace=60) as service:
        asking = [
            asyncio.create_task(see(kind.ask(client, service.url))) for kind in KINDS if kind.name != "embeddings"
        ]
        await simulator.received("/api/generate", count=4)
        await simulator.received("/api/chat", count=4)
        await asyncio.sleep(0.1)
        await ending(client, service, sig)
        for kind in KINDS:
            seen = await see(kind.ask(client, service.url))
            assert (seen.status, seen.code) == (503, "shutting_down")
            assert seen.json["retryable"] is True
            assert int(seen.headers["Retry-After"]) >= 1
        async with client.get(f"{service.url}/health/live") as response:
            assert response.status == 200
        for seen in await asyncio.gather(*asking):
            assert (seen.status, seen.cut) == (200, False)
            if seen.headers["Content-Type"] in {"text/event-stream", "application/x-ndjson"}:
                check_one_last(seen.events, "done")
        await ends_cleanly(service)
    assert len(simulator.calls_to("/api/generate")) == 4
    await until(lambda: simulator.open_connections == 0)


async def test_clients_are_notified_when_the_grace_period_ends(
    simulator: Simulator, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    simulator.seconds_per_token = 0.01
    simulator.fault(Fault(endless=True, times=None))
    async with run_service(simulator.url, tmp_path, shutdown_grace=1, ollama_max_connections=6) as service:
        kinds = [*KINDS[:4], STREAMED_SSE, STREAMED_NDJSON]
        asking = [asyncio.create_task(see(kind.ask(client, service.url))) for kind in kinds]
        await simulator.received("/api/generate", count=6)
        queued = asyncio.create_task(see(STREAMED_SSE.ask(client, service.url)))
        await asyncio.sleep(0.1)
        await ending(client, service)
        seen = await asyncio.gather(*asking)
        check_refusals(kinds, seen)
        waited = await queued
        assert (waited.status, waited.code) == (503, "shutting_down")
        await ends_cleanly(service)
    calls = simulator.calls_to("/api/generate")
    assert [call.outcome for call in calls] == ["client_gone"] * 6
    await until(lambda: simulator.open_connections == 0)


def check_refusals(kinds: list[Kind], answers: list[Seen]) -> None:
    for kind, seen in zip(kinds, answers, strict=True):
        if kind.tells_more:
            assert (seen.status, seen.cut) == (200, False)
            check_one_last(seen.events, "error")
            assert (seen.events[-1]["code"], seen.events[-1]["retryable"]) == ("shutting_down", False)
        elif kind.is_stream:
            assert (seen.status, seen.cut) == (200, True)
        else:
            assert (seen.status, seen.code) == (503, "shutting_down")
            assert seen.json["retryable"] is False


async def test_a_stream_that_only_had_heartbeats_is_notified_too(
    simulator: Simulator, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    simulator.fault(Fault(hang=True))
    async with run_service(simulator.url, tmp_path, shutdown_grace=0.2, sse_ping_interval=0.05) as service:
        async with STREAMED_SSE.ask(client, service.url) as response:
            assert await response.content.readexactly(len(PING)) == PING
            service.terminate()
            (event,) = sse_events(await response.read())
        assert (event["type"], event["code"]) == ("error", "shutting_down")
        await ends_cleanly(service)


async def raw(service: ServiceProcess, kind: Kind, *, body_bytes: int | None = None) -> tuple[Any, Any]:
    """Send a request, or the beginning of one, and read nothing."""
    body = json.dumps(kind.body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=1024)
    head = (
        f"POST /api/ollama/{kind.path} HTTP/1.1\r\nHost: service\r\nContent-Type: application/json\r\n"
        f"Accept: {kind.accept}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body[:body_bytes])
    await writer.drain()
    return reader, writer


async def test_clients_that_neither_read_nor_write_do_not_delay_the_shutdown(
    simulator: Simulator, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    flood = (b'{"model":"llama3.1","response":"' + b"x" * 16_384 + b'"}\n') * 1500
    simulator.fault(Fault(body=flood, content_type="application/x-ndjson", split_bytes=65_536))
    async with run_service(simulator.url, tmp_path, shutdown_grace=0.2) as service:
        _, deaf = await raw(service, STREAMED_NDJSON)
        call = await simulator.received("/api/generate")
        _, mute = await raw(service, WHOLE, body_bytes=10)
        _, idle = await asyncio.open_connection("127.0.0.1", service.port)
        await see(client.get(f"{service.url}/health/live"))
        await asyncio.sleep(0.3)
        service.terminate()
        # uvicorn logs how many tasks it cancels at the end; that is expected here.
        await ends_cleanly(service, seconds=END_SECONDS, loud=TROUBLE)
        await until(call.ended_event.is_set)
        for writer in (deaf, mute, idle):
            writer.transport.abort()


async def test_requests_are_accepted_during_the_shutdown_delay(
    simulator: Simulator, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with run_service(simulator.url, tmp_path, shutdown_delay=60) as service:
        await ending(client, service)
        async with aiohttp.ClientSession() as newcomer, newcomer.get(f"{service.url}/health/ready") as response:
            assert response.status == 503
            assert response.headers["Connection"] == "close"
        seen = await see(WHOLE.ask(client, service.url))
        assert (seen.status, seen.headers["Connection"]) == (200, "close")


async def test_the_shutdown_continues_after_the_delay(simulator: Simulator, tmp_path: Path) -> None:
    async with run_service(simulator.url, tmp_path, shutdown_delay=0.7) as service:
        began = time.monotonic()
        service.terminate()
        await ends_cleanly(service)
        assert time.monotonic() - began >= 0.7


@pytest.mark.parametrize(
    ("first", "second"), [(signal.SIGINT, None), (signal.SIGTERM, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)]
)
async def test_ctrl_c_and_a_second_signal_skip_the_delay(
    simulator: Simulator,
    client: aiohttp.ClientSession,
    tmp_path: Path,
    first: signal.Signals,
    second: signal.Signals | None,
) -> None:
    async with run_service(simulator.url, tmp_path, shutdown_delay=60) as service:
        service.process.send_signal(first)
        if second is not None:
            await no_longer_ready(client, service)
            service.process.send_signal(second)
        await ends_cleanly(service)


async def test_a_second_signal_ends_the_grace_period(
    simulator: Simulator, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    simulator.fault(Fault(hang=True))
    async with run_service(simulator.url, tmp_path, shutdown_grace=60) as service:
        asking = asyncio.create_task(see(WHOLE.ask(client, service.url)))
        await simulator.received("/api/generate")
        await ending(client, service)
        service.terminate()
        async with aiohttp.ClientSession() as newcomer, asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(aiohttp.ClientConnectorError):
                while await ready(newcomer, service):
                    await asyncio.sleep(0.02)
        asking.cancel()
        await ends_cleanly(service)


async def test_without_ollama_it_ends_immediately(
    simulator: Simulator, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with run_service(simulator.url, tmp_path, ollama_retry_backoff=0.01) as service:
        await see(WHOLE.ask(client, service.url))
        await simulator.stop()
        assert (await see(STREAMED_TEXT.ask(client, service.url))).status == 503
        service.terminate()
        await ends_cleanly(service, loud=TROUBLE)


async def test_several_workers_shut_down_gracefully(
    simulator: Simulator, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    simulator.seconds_per_token = 0.02
    # Without warnings as errors, as uvicorn does not close the listening socket of the parent process.
    settings: dict[str, Any] = {"shutdown_grace": 60, "web_concurrency": 2, "pythonwarnings": "default::UserWarning"}
    async with run_service(simulator.url, tmp_path, **settings) as service:
        asking = [asyncio.create_task(see(STREAMED_SSE.ask(client, service.url))) for _ in range(6)]
        await simulator.received("/api/generate", count=6)
        await asyncio.sleep(0.1)
        service.terminate()
        await asyncio.sleep(0.3)
        for seen in await asyncio.gather(*asking):
            assert (seen.status, seen.cut) == (200, False)
            check_one_last(seen.events, "done")
        await ends_cleanly(service)
    await until(lambda: simulator.open_connections == 0)


def test_the_service_starts_outside_the_main_thread() -> None:
    """Signal handlers cannot be set in other threads, such as that of a test client."""

    async def start_and_end() -> None:
        settings = Settings(_env_file=None, ollama_base_url=f"http://127.0.0.1:{free_port()}")
        async with serve(create_app(settings)) as url, aiohttp.ClientSession() as client:
            assert (await see(client.get(f"{url}/health/live"))).status == 200

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, start_and_end()).result()

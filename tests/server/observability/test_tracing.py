"""Traces, as received by a collector."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from simulator import Fault, Simulator
from tests.api import CHAT, get, post
from tests.kinds import EMBEDDINGS, NATIVE_STREAM, STREAMED_SSE, WHOLE, load_is, see, until
from tests.otlp import Receiver, attributes, receive_traces
from tests.service_process import run_service

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
QUEUED_NANOSECONDS = 2e8
SECRET = "whom to bench on Sunday"


def environment(receiver: Receiver) -> dict[str, Any]:
    return {
        "fastapi_otel_auto_configure": "true",
        "otel_exporter_otlp_endpoint": receiver.url,
        "otel_metrics_exporter": "none",
        "otel_logs_exporter": "none",
        "otel_bsp_schedule_delay": "100",
        "otel_service_name": "writer",
        "log_format": "json",
        "ollama_retry_backoff": "0.01",
        "ollama_max_connections": "1",
    }


async def test_calls_of_models_are_traced_within_their_requests(simulator: Simulator, tmp_path: Path) -> None:
    async with (
        receive_traces() as receiver,
        run_service(simulator.url, tmp_path, **environment(receiver)) as service,
        aiohttp.ClientSession() as client,
    ):
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        body = CHAT | {"model": "unknown", "stream": True, "messages": [{"role": "user", "content": SECRET}]}
        assert (await post(client, service.url, "chat", body, "text/event-stream", headers=headers)).status == 200
        for kind in (WHOLE, NATIVE_STREAM, EMBEDDINGS):
            assert (await see(kind.ask(client, service.url))).status == 200
        simulator.fault(Fault(reset_after=1))
        await see(STREAMED_SSE.ask(client, service.url))
        may_go_on = asyncio.Event()
        simulator.fault(Fault(until=may_go_on))
        first, second = (asyncio.create_task(see(WHOLE.ask(client, service.url))) for _ in range(2))
        await load_is(client, service.url, running=1, queued=1)
        await asyncio.sleep(QUEUED_NANOSECONDS / 1e9)
        may_go_on.set()
        await asyncio.gather(first, second)
        await until(lambda: len(receiver.named("text_completion llama3.1")) == 4)
        await until(lambda: len(receiver.named("POST /api/ollama/generate")) == 4)
        logged = [json.loads(line) for line in service.log.splitlines()]

    (request,) = receiver.named("POST /api/ollama/chat")
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    (call,) = receiver.named("chat unknown")
    assert (call.trace_id, call.parent_span_id) == (request.trace_id, request.span_id)
    assert call.kind == Span.SPAN_KIND_CLIENT
    told = attributes(call)
    assert 0 < told.pop("gen_ai.response.time_to_first_chunk") < 10
    assert told.pop("gen_ai.usage.input_tokens") > 0
    assert told.pop("gen_ai.usage.output_tokens") > 0
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "ollama",
        "gen_ai.request.model": "unknown",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "gpt-oss",
        "gen_ai.response.finish_reasons": ["stop"],
        "ollama_service.attempts": 1,
        "ollama_service.fallback": True,
        "server.address": "127.0.0.1",
        "server.port": int(simulator.url.rpartition(":")[2]),
    }
    queues = receiver.named("queue")
    assert [queue.parent_span_id for queue in queues].count(call.span_id) == 1
    waits = sorted(queue.end_time_unix_nano - queue.start_time_unix_nano for queue in queues)
    assert waits[-2] < QUEUED_NANOSECONDS <= waits[-1]
    by_id = {span.span_id: span for span in receiver.spans}
    for queue in queues:
        parent = by_id[queue.parent_span_id]
        assert parent.start_time_unix_nano <= queue.start_time_unix_nano
        assert queue.end_time_unix_nano <= parent.end_time_unix_nano

    assert [attributes(span)["gen_ai.usage.output_tokens"] > 0 for span in receiver.named("chat llama3.1")] == [True]
    assert len(receiver.named("embeddings nomic-embed-text")) == 1
    (failed,) = [span for span in receiver.spans if attributes(span).get("error.type") == "ollama_error"]
    assert failed.status.code == Status.STATUS_CODE_ERROR
    assert not any(SECRET.encode() in body for body in receiver.bodies)
    assert not any(b"simulated" in body for body in receiver.bodies)  # a word of the answers

    requests = [line for line in logged if "outcome" in line]
    assert requests[0]["trace_id"] == TRACE
    traces = {span.trace_id.hex() for span in receiver.spans}
    assert {line["trace_id"] for line in requests} <= traces


async def test_nothing_is_sent_where_it_is_not_asked_for(simulator: Simulator, tmp_path: Path) -> None:
    async with receive_traces() as receiver:
        asked = environment(receiver)
        del asked["fastapi_otel_auto_configure"]
        async with run_service(simulator.url, tmp_path, **asked) as service, aiohttp.ClientSession() as client:
            assert (await see(WHOLE.ask(client, service.url))).status == 200
            assert (await get(client, f"{service.url}/health")).status == 200
            await until(lambda: '"outcome":"whole"' in service.log)
            service.terminate()
            assert await service.exit_code() == 0
        assert receiver.bodies == []

"""Retries: which requests are sent again, and which are not."""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.ollama.client import OllamaClient
from services.ollama.errors import (
    NoSuchEndpointError,
    NotFoundError,
    OllamaBusyError,
    OllamaError,
    OllamaResponseError,
    OllamaTimeoutError,
    OllamaUnavailableError,
    RejectedByOllamaError,
)
from services.upstream import client_options
from simulator import Fault, Simulator
from tests.api import fault_id
from tests.conftest import MakeSettings
from tests.kinds import until
from tests.services.ollama.client_calls import BODY, PATH, Ask, calls, either, whole

pytestmark = pytest.mark.every_loop


@asynccontextmanager
async def refused() -> AsyncIterator[str]:
    """Yield an address where no server listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@either
@pytest.mark.parametrize("status", [503, 429])
async def test_a_request_to_a_busy_server_is_retried(
    transport: OllamaClient, simulator: Simulator, status: int, ask: Ask
) -> None:
    simulator.fault(Fault(status=status, message="busy", times=2))
    assert await ask(transport)
    assert [seen.status for seen in calls(simulator)] == [status, status, 200]


@either
@pytest.mark.parametrize("attempts", [1, 2, 4])
async def test_attempts_are_counted(make_settings: MakeSettings, simulator: Simulator, attempts: int, ask: Ask) -> None:
    simulator.fault(Fault(status=503, message="busy", times=None))
    async with OllamaClient(client_options(make_settings(ollama_retry_attempts=attempts))) as transport:
        with pytest.raises(OllamaBusyError):
            await ask(transport)
    assert len(calls(simulator)) == attempts


@either
async def test_a_refused_connection_is_retried(
    make_settings: MakeSettings, simulator: Simulator, caplog: pytest.LogCaptureFixture, ask: Ask
) -> None:
    await simulator.stop()
    async with OllamaClient(
        client_options(make_settings(ollama_retry_attempts=10, ollama_retry_backoff=0.05))
    ) as transport:
        asked = asyncio.ensure_future(ask(transport))
        await until(lambda: "attempt 1 failed" in caplog.text)
        await simulator.start()
        assert await asked
    assert len(calls(simulator)) == 1
    assert "127.0.0.1" not in caplog.text


@either
async def test_a_server_that_stays_unreachable_is_unavailable(
    make_settings: MakeSettings, caplog: pytest.LogCaptureFixture, ask: Ask
) -> None:
    async with refused() as address, OllamaClient(client_options(make_settings(ollama_base_url=address))) as transport:
        with pytest.raises(OllamaUnavailableError) as caught:
            await ask(transport)
    assert caught.value.retryable
    assert [record.message[:16] for record in caplog.records] == ["attempt 1 failed", "attempt 2 failed"]


@either
async def test_a_host_name_that_does_not_resolve_is_unavailable(make_settings: MakeSettings, ask: Ask) -> None:
    settings = make_settings(ollama_base_url="http://ollama.invalid", ollama_retry_attempts=1)
    async with OllamaClient(client_options(settings)) as transport:
        with pytest.raises(OllamaUnavailableError) as caught:
            await ask(transport)
    assert "invalid" not in caught.value.detail


async def test_the_backoff_grows(
    make_settings: MakeSettings, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.fault(Fault(status=503, message="busy", times=None))
    async with OllamaClient(
        client_options(make_settings(ollama_retry_attempts=5, ollama_retry_backoff=0.02))
    ) as transport:
        with pytest.raises(OllamaBusyError):
            await whole(transport)
    starts = [seen.started for seen in calls(simulator)]
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert all(pause >= 0.02 * 2**number for number, pause in enumerate(pauses))
    assert len(caplog.records) == 4


NOT_AGAIN: list[tuple[Fault, type[OllamaError]]] = [
    (Fault(status=400, message="no"), RejectedByOllamaError),
    (Fault(status=404, message="no"), NotFoundError),
    (Fault(status=404, body=b"404 page not found"), NoSuchEndpointError),
    (Fault(status=401, message="no"), OllamaResponseError),
    (Fault(status=500), OllamaResponseError),
    (Fault(status=502, body=b"<html>"), OllamaResponseError),
    (Fault(status=504, body=b"<html>"), OllamaResponseError),
    (Fault(reset_after=0), OllamaResponseError),
    (Fault(truncate_body=True), OllamaResponseError),
    (Fault(garbage_status_line=True), OllamaResponseError),
    (Fault(body=b"<html>"), OllamaResponseError),
    (Fault(hang=True), OllamaTimeoutError),
    (Fault(stall_after=0), OllamaTimeoutError),
]


@either
@pytest.mark.parametrize(("fault", "kind"), NOT_AGAIN, ids=fault_id)
async def test_a_request_that_may_have_run_is_not_retried(
    impatient: OllamaClient, simulator: Simulator, fault: Fault, kind: type[OllamaError], ask: Ask
) -> None:
    simulator.fault(fault)
    with pytest.raises(kind) as caught:
        await ask(impatient)
    assert type(caught.value) is kind
    assert caught.value.retryable is False
    assert caught.value.__cause__ is not None or fault.status is not None
    assert len(calls(simulator)) == 1
    assert "127.0.0.1" not in str(caught.value)
    assert "html" not in str(caught.value)
    assert await ask(impatient)


@pytest.mark.parametrize("fault", [Fault(error_after=3), Fault(reset_after=3), Fault(stall_after=3)], ids=fault_id)
async def test_a_stream_is_not_retried_after_its_first_chunk(
    impatient: OllamaClient, simulator: Simulator, fault: Fault
) -> None:
    simulator.fault(fault)
    async with impatient.stream(PATH, BODY | {"stream": True}) as reader:
        count = 0
        while count < 3:
            count += len(await reader.read())
        with pytest.raises(OllamaError):
            await reader.read()
    assert count == 3
    assert len(calls(simulator)) == 1


async def test_chunks_before_an_invalid_line_are_delivered(transport: OllamaClient, simulator: Simulator) -> None:
    simulator.fault(Fault(body=b'{"response":"a"}\n{"response":"b"}\nnonsense\n'))
    async with transport.stream(PATH, BODY) as reader:
        assert [chunk["response"] for chunk in await reader.read()] == ["a", "b"]
        with pytest.raises(OllamaResponseError):
            await reader.read()


@either
@pytest.mark.parametrize("fault", [Fault(drop_reused=True), Fault(path=PATH, close_after_response=True)], ids=fault_id)
async def test_a_dead_connection_is_replaced_once(
    transport: OllamaClient, simulator: Simulator, fault: Fault, ask: Ask
) -> None:
    if fault.drop_reused:
        await ask(transport)
        simulator.fault(fault)
    else:
        simulator.fault(fault)
        await ask(transport)
    simulator.calls.clear()
    assert await ask(transport)
    assert [seen.status for seen in calls(simulator)][-1] == 200
    assert len(calls(simulator)) <= 2
    assert calls(simulator)[-1].reused is False


@either
async def test_many_dead_connections_are_replaced(transport: OllamaClient, simulator: Simulator, ask: Ask) -> None:
    simulator.fault(Fault(delay_seconds=0.05, times=3))
    await asyncio.gather(*(ask(transport) for _ in range(3)))
    simulator.fault(Fault(drop_reused=True, times=None))
    for _ in range(3):
        assert await ask(transport)
    assert len({seen.connection for seen in calls(simulator)[:3]}) == 3


@either
async def test_a_fresh_connection_that_dies_is_not_replaced(
    transport: OllamaClient, simulator: Simulator, ask: Ask
) -> None:
    await ask(transport)
    simulator.calls.clear()
    simulator.fault(Fault(reset_after=0, times=None))
    with pytest.raises(OllamaResponseError) as caught:
        await ask(transport)
    assert type(caught.value) is OllamaResponseError
    assert [seen.reused for seen in calls(simulator)] == [True, False]


@either
async def test_a_connection_that_dies_during_a_response_is_not_replaced(
    transport: OllamaClient, simulator: Simulator, ask: Ask
) -> None:
    await ask(transport)
    simulator.calls.clear()
    simulator.fault(Fault(reset_after=1))
    with pytest.raises(OllamaResponseError):
        await ask(transport)
    assert len(calls(simulator)) == 1


async def test_a_dead_connection_is_replaced_once_for_a_get_request_too(
    transport: OllamaClient, simulator: Simulator
) -> None:
    await transport.get("/api/version")
    simulator.fault(Fault(path="/api/version", drop_reused=True, times=None))
    assert await transport.get("/api/version")
    assert [seen.reused for seen in simulator.calls] == [False, True, False]

"""Fault injection."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from simulator import ANSWER_TOKENS, Fault, Simulator
from tests.simulator.requests import CHAT, EMBED, GENERATE, JSON, ended, lines, post, whole


async def test_a_fault_applies_the_given_number_of_times(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    busy = "server busy, please try again.  maximum pending requests exceeded"
    simulator.fault(Fault(status=503, message=busy, times=2, retry_after="7"))
    for _ in range(2):
        async with client.post("/api/generate", json=GENERATE) as response:
            assert (response.status, response.headers["Content-Type"]) == (503, JSON)
            assert response.headers["Retry-After"] == "7"
            assert json.loads(await response.read()) == {"error": busy}
    assert len(await lines(client, GENERATE)) == ANSWER_TOKENS + 1


async def test_a_fault_applies_only_to_its_path_and_model(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(status=500, model="GPT-OSS:latest", times=None))
    simulator.fault(Fault(status=502, path="/api/tags"))
    await whole(client, GENERATE)
    assert (await post(client, "/api/chat", CHAT | {"model": "gpt-oss"}))[0] == 500
    for status in (502, 200):
        async with client.get("/api/tags") as response:
            assert response.status == status
    simulator.clear_faults()
    await whole(client, CHAT, model="gpt-oss")


async def test_faults_apply_in_order(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    for status in (500, 503):
        simulator.fault(Fault(status=status))
    assert [(await post(client, "/api/embed", EMBED))[0] for _ in range(3)] == [500, 503, 200]


async def test_garbage_can_replace_a_response(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(body=b"<html>bad gateway</html>", status=502))
    async with client.post("/api/generate", json=GENERATE) as response:
        assert (response.status, response.content_type) == (502, "text/html")
        assert await response.read() == b"<html>bad gateway</html>"


async def test_a_model_that_fails_to_load_is_not_listed_as_running(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    await whole(client, GENERATE)
    simulator.fault(Fault(load_failure=True))
    status, answer = await post(client, "/api/generate", GENERATE)
    assert status == 500
    assert "error loading model" in answer["error"]
    async with client.get("/api/ps") as response:
        assert (await response.json())["models"] == []


@pytest.mark.parametrize("stream", [True, False])
async def test_a_reset_before_any_byte_is_a_lost_connection(
    simulator: Simulator, client: aiohttp.ClientSession, stream: bool
) -> None:
    simulator.fault(Fault(reset_after=0))
    with pytest.raises(aiohttp.ClientOSError, match="reset by peer"):
        await lines(client, GENERATE, stream=stream)
    (call,) = simulator.calls
    assert (call.outcome, call.first_byte, call.status) == ("reset", None, None)


@pytest.mark.parametrize("count", [1, 3, ANSWER_TOKENS])
async def test_a_reset_after_a_number_of_chunks(
    simulator: Simulator, client: aiohttp.ClientSession, count: int
) -> None:
    simulator.fault(Fault(reset_after=count))
    received = b""
    async with client.post("/api/generate", json=GENERATE) as response:
        with pytest.raises(aiohttp.ClientError):
            async for data in response.content.iter_any():
                received += data
    assert received.count(b"\n") == count
    assert (await ended(simulator.calls[0])).outcome == "reset"
    assert simulator.calls[0].chunks_sent == count


async def test_a_complete_response_is_reset_in_its_middle(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(reset_after=1))
    async with client.post("/api/embed", json=EMBED) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientError):
            await response.read()


async def test_an_error_line_ends_a_stream_normally(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(error_after=2, message="runner died"))
    made = await lines(client, GENERATE)
    assert [set(line) for line in made[:2]] == [{"model", "created_at", "response", "done"}] * 2
    assert made[2:] == [{"error": "runner died"}]
    await lines(client, GENERATE)
    assert simulator.calls[0].connection == simulator.calls[1].connection


async def test_an_error_in_a_complete_response_is_500(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(error_after=2, message="runner died"))
    assert await post(client, "/api/chat", CHAT | {"stream": False}) == (500, {"error": "runner died"})


async def test_a_response_can_end_without_done(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(end_after=4, times=2))
    made = await lines(client, CHAT)
    assert len(made) == 4
    assert not any(line["done"] for line in made)
    answer = await whole(client, CHAT)
    assert answer["done"] is False
    assert "eval_count" not in answer
    simulator.fault(Fault(end_after=0))
    assert await lines(client, CHAT) == []


async def test_a_stalled_stream_sends_nothing_more(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(stall_after=2))
    async with client.post("/api/generate", json=GENERATE) as response:
        received = [await response.content.readline(), await response.content.readline()]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.content.readany(), 0.1)
    assert all(line.endswith(b"\n") for line in received)


async def test_split_writes_cut_lines_and_characters(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    expected = await whole(client, GENERATE)
    simulator.fault(Fault(split_bytes=3))
    async with client.post("/api/generate", json=GENERATE) as response:
        pieces = [piece async for piece in response.content.iter_any()]
    assert max(map(len, pieces)) <= 12
    made = [json.loads(line) for line in b"".join(pieces).splitlines()]
    assert "".join(line["response"] for line in made) == expected["response"]

    def cut_in_a_character(piece: bytes) -> bool:
        try:
            piece.decode()
        except UnicodeDecodeError:
            return True
        return False

    assert any(map(cut_in_a_character, pieces))


async def test_merged_lines_arrive_together(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(merge=True, error_after=5))
    async with client.post("/api/generate", json=GENERATE) as response:
        first = await response.content.readany()
        rest = await response.content.read()
    assert (first + rest).count(b"\n") == 6
    assert first.count(b"\n") >= 5


@pytest.mark.parametrize("body", [GENERATE, CHAT])
@pytest.mark.parametrize("stream", [True, False])
async def test_the_last_line_can_be_padded(
    simulator: Simulator, client: aiohttp.ClientSession, body: dict[str, Any], stream: bool
) -> None:
    simulator.fault(Fault(line_bytes=2_000_000))
    made = await lines(client, body, stream=True) if stream else [await whole(client, body)]
    assert made[-1]["done"] is True
    assert len(json.dumps(made[-1], separators=(",", ":"))) >= 1_999_000
    assert set(made[-1]["context"]) == {12345}


async def test_a_connection_can_be_closed_after_its_response(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.fault(Fault(close_after_response=True))
    async with client.post("/api/embed", json=EMBED) as response:
        assert response.headers.get("Connection") != "close"
        await response.read()
    await asyncio.sleep(0.02)
    assert simulator.open_connections == 0
    assert simulator.calls[0].outcome == "completed"


async def test_only_requests_on_used_connections_are_dropped(
    simulator: Simulator, client: aiohttp.ClientSession
) -> None:
    simulator.fault(Fault(drop_reused=True))
    await whole(client, GENERATE)
    with pytest.raises(aiohttp.ClientOSError):
        await whole(client, GENERATE)
    await whole(client, GENERATE)
    await whole(client, GENERATE)
    assert [call.outcome for call in simulator.calls] == ["completed", "reset", "completed", "completed"]
    first, dropped, fresh, reused = (call.connection for call in simulator.calls)
    assert first == dropped != fresh == reused


async def test_bytes_that_are_not_http(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(garbage_status_line=True))
    with pytest.raises(aiohttp.ClientError):
        await whole(client, GENERATE)
    assert simulator.calls[0].outcome == "reset"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_truncated_body_is_a_payload_error(
    simulator: Simulator, client: aiohttp.ClientSession, stream: bool
) -> None:
    simulator.fault(Fault(truncate_body=True))
    with pytest.raises(aiohttp.ClientPayloadError):
        await lines(client, GENERATE, stream=stream)


async def test_faults_apply_to_metadata_paths_if_named(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(path="/api/version", hang=True))
    simulator.fault(Fault(path="/api/tags", truncate_body=True))
    with pytest.raises(TimeoutError):
        async with client.get("/api/version", timeout=aiohttp.ClientTimeout(total=0.05)):
            pass
    with pytest.raises(aiohttp.ClientPayloadError):
        async with client.get("/api/tags") as response:
            await response.read()


async def test_the_delay_precedes_the_response(simulator: Simulator, client: aiohttp.ClientSession) -> None:
    simulator.fault(Fault(delay_seconds=0.1))
    await whole(client, GENERATE)
    (call,) = simulator.calls
    assert call.first_byte is not None
    assert call.first_byte - call.started >= 0.09

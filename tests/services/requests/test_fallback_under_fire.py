"""Fallback to the default model, before and after the request was sent."""

import aiohttp
import pytest

from main import create_app
from simulator import Fault, Simulator
from tests.conftest import MakeSettings
from tests.kinds import CHATS, EMBEDDINGS, GENERATES, Kind, Seen, check_one_last, nothing_is_left, see, until
from tests.serving import serve

COMPLETIONS = [*GENERATES, *CHATS]
completions = pytest.mark.parametrize("kind", COMPLETIONS, ids=lambda kind: kind.name)
LOAD_FAILS = Fault(load_failure=True, model="llama3.1", times=None)


def check_fallback(seen: Seen, kind: Kind, *, requested: str = "llama3.1") -> None:
    """Check that the fallback is reported everywhere."""
    assert (seen.status, seen.cut) == (200, False)
    assert (seen.headers["X-Model"], seen.headers["X-Model-Fallback"]) == ("gpt-oss", "true")
    if not kind.is_stream:
        answer = seen.json
        assert (answer["model"], answer["requested_model"], answer["fallback"]) == ("gpt-oss", requested, True)
        assert "fallback_model" in answer["warnings"]
        assert "[simulated gpt-oss]" in answer["response"]
    elif kind.tells_more:
        check_one_last(seen.events, "done")
        start = seen.events[0]
        assert (start["model"], start["requested_model"], start["fallback"]) == ("gpt-oss", requested, True)
        assert "fallback_model" in seen.events[-1]["warnings"]
    else:
        assert "[simulated gpt-oss]" in seen.body.decode()


async def knows_the_list(client: aiohttp.ClientSession, url: str) -> None:
    assert (await see(client.get(f"{url}/api/ollama/models"))).status == 200


@completions
async def test_a_model_removed_between_list_and_call(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    await knows_the_list(client, url)
    lists = len(simulator.calls_to("/api/tags"))
    simulator.remove("llama3.1")
    check_fallback(await see(kind.ask(client, url)), kind)
    assert [call.body["model"] for call in simulator.calls_to(kind.upstream)] == ["llama3.1:latest", "gpt-oss:latest"]
    assert len(simulator.calls_to("/api/tags")) == lists + 1
    check_fallback(
        await see(kind.ask(client, url)), kind
    )  # the list is refreshed: no second call for the removed model
    assert [call.body["model"] for call in simulator.calls_to(kind.upstream)][2:] == ["gpt-oss:latest"]
    await nothing_is_left(client, url, simulator)


@completions
async def test_a_model_that_fails_to_load(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    simulator.fault(LOAD_FAILS)
    check_fallback(await see(kind.ask(client, url)), kind)
    await nothing_is_left(client, url, simulator)


@completions
async def test_a_failure_of_a_running_model_causes_no_fallback(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    await see(kind.ask(client, url))  # the model is loaded
    simulator.fault(Fault(status=500))
    seen = await see(kind.ask(client, url))
    assert (seen.status, seen.code) == (502, "ollama_error")
    assert len(simulator.calls_to(kind.upstream)) == 2


@completions
@pytest.mark.parametrize(
    "message",
    ["an error was encountered while running the model: unexpected EOF", "model runner has unexpectedly stopped"],
)
async def test_a_crash_of_a_running_model_causes_no_fallback(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind, message: str
) -> None:
    simulator.fault(Fault(status=500, message=message))  # the model is not loaded
    seen = await see(kind.ask(client, url))
    assert (seen.status, seen.code) == (502, "ollama_error")
    assert len(simulator.calls_to(kind.upstream)) == 1


@completions
async def test_a_missing_default_model_is_not_found(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    await knows_the_list(client, url)
    simulator.remove("llama3.1")
    simulator.remove("gpt-oss")
    seen = await see(kind.ask(client, url))
    assert (seen.status, seen.code) == (404, "model_not_found")
    assert "llama3.1" in seen.json["detail"]
    assert seen.json["available"] == ["nomic-embed-text"]
    await nothing_is_left(client, url, simulator)


@completions
async def test_a_default_model_removed_meanwhile_is_not_found(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    simulator.remove("llama3.1")
    await knows_the_list(client, url)
    simulator.fault(Fault(status=404, message="model 'gpt-oss:latest' not found", times=None))
    seen = await see(kind.ask(client, url))
    assert (seen.status, seen.code) == (404, "model_not_found")
    assert "llama3.1" in seen.json["detail"]
    assert len(simulator.calls_to(kind.upstream)) == 1


@completions
async def test_a_failed_load_without_a_default_model_is_an_error(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    simulator.remove("gpt-oss")
    simulator.fault(LOAD_FAILS)
    seen = await see(kind.ask(client, url))
    assert (seen.status, seen.code) == (502, "ollama_error")
    await nothing_is_left(client, url, simulator)


@completions
async def test_a_default_model_that_fails_to_load_is_an_error(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    simulator.fault(Fault(load_failure=True, times=None))
    seen = await see(kind.ask(client, url))
    assert (seen.status, seen.code) == (502, "ollama_error")
    assert len(simulator.calls_to(kind.upstream)) == 2
    await nothing_is_left(client, url, simulator)


@completions
async def test_an_unreadable_list_leaves_the_requested_model(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    simulator.fault(Fault(path="/api/tags", status=500, times=None))
    seen = await see(kind.ask(client, url))
    assert (seen.status, seen.headers["X-Model-Fallback"]) == (200, "false")
    assert [call.body["model"] for call in simulator.calls_to(kind.upstream)] == ["llama3.1"]


@completions
async def test_an_unreadable_list_and_an_unknown_model(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    simulator.fault(Fault(path="/api/tags", body=b"<html>", times=None))
    check_fallback(await see(kind.ask(client, url, model="unknown")), kind, requested="unknown")
    assert [call.body["model"] for call in simulator.calls_to(kind.upstream)] == ["unknown", "gpt-oss"]


@completions
async def test_an_empty_list_means_no_model_is_installed(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    for name in ("llama3.1", "gpt-oss", "nomic-embed-text"):
        simulator.remove(name)
    seen = await see(client.get(f"{url}/api/ollama/models?force_refresh=true"))
    assert seen.json["models"] == []
    seen = await see(kind.ask(client, url))
    assert (seen.status, seen.code) == (404, "model_not_found")
    assert seen.json["available"] == []


@completions
@pytest.mark.parametrize("fault", [Fault(status=404, message="gone"), LOAD_FAILS], ids=["gone", "broken"])
async def test_fallback_false_disables_the_fallback(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind, fault: Fault
) -> None:
    simulator.fault(fault)
    seen = await see(kind.ask(client, url, fallback=False))
    assert seen.code == ("model_not_found" if fault.status == 404 else "ollama_error")
    assert len(simulator.calls_to(kind.upstream)) == 1
    await nothing_is_left(client, url, simulator)


@completions
async def test_the_default_model_is_not_its_own_fallback(
    simulator: Simulator, client: aiohttp.ClientSession, url: str, kind: Kind
) -> None:
    await knows_the_list(client, url)
    simulator.remove("gpt-oss")
    seen = await see(kind.ask(client, url, model="GPT-OSS:latest"))
    assert (seen.status, seen.code) == (404, "model_not_found")
    assert len(simulator.calls_to(kind.upstream)) == 1


@completions
async def test_both_attempts_share_one_slot(
    make_settings: MakeSettings, simulator: Simulator, client: aiohttp.ClientSession, kind: Kind
) -> None:
    simulator.fault(LOAD_FAILS)
    async with serve(create_app(make_settings(ollama_max_connections=1, ollama_queue_size=0))) as url:
        for _ in range(3):
            check_fallback(await see(kind.ask(client, url)), kind)
        await nothing_is_left(client, url, simulator)
    await until(lambda: simulator.open_connections == 0)


async def test_embeddings_have_no_fallback_model(simulator: Simulator, client: aiohttp.ClientSession, url: str) -> None:
    await knows_the_list(client, url)
    simulator.remove("nomic-embed-text")
    seen = await see(EMBEDDINGS.ask(client, url))
    assert (seen.status, seen.code) == (404, "model_not_found")
    assert "gpt-oss" in seen.json["available"]
    assert len(simulator.calls_to("/api/embed")) == 1
    seen = await see(EMBEDDINGS.ask(client, url))
    assert (seen.status, seen.code) == (404, "model_not_found")
    assert len(simulator.calls_to("/api/embed")) == 1
    simulator.install("nomic-embed-text")
    simulator.fault(Fault(load_failure=True))
    await see(client.get(f"{url}/api/ollama/models?force_refresh=true"))
    seen = await see(EMBEDDINGS.ask(client, url))
    assert (seen.status, seen.code) == (502, "ollama_error")
    await nothing_is_left(client, url, simulator)

"""UPSTREAM_MODEL_HEADER: the request header that names the model to a gateway."""

from simulator import Simulator
from tests.conftest import MakeSettings
from tests.haproxy import needs_haproxy
from tests.kinds import MESSAGES, PROMPT, WHOLE, see
from tests.services.gateway import behind, generations

pytestmark = needs_haproxy


async def test_the_header_names_the_model_in_one_spelling_whatever_the_api(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    async with behind(make_settings, simulator, upstream_model_header="X-Model") as it:
        say = {"model": "Llama3.1:latest"} | {"messages": MESSAGES["messages"]}
        embed = {"model": "nomic-embed-text", "input": "x"}
        paths = [
            ("/api/ollama/generate", PROMPT),
            ("/api/ollama/chat", say),
            ("/api/ollama/chat", say | {"stream": True}),
            ("/v1/chat/completions", say),
            ("/api/chat", say),
            ("/api/generate", {"MODEL": "library/llama3.1", "prompt": "x", "stream": False}),
            ("/api/show", {"model": "llama3.1"}),
            ("/v1/chat/completions", say | {"stream": True}),
            ("/api/chat", say | {"stream": True}),
        ]
        embeddings = [
            ("/api/ollama/embeddings", {"text": "x"}),
            ("/v1/embeddings", embed),
            ("/api/embed", embed),
            ("/api/embeddings", {"model": "nomic-embed-text", "prompt": "x"}),
        ]
        for path, body in [*paths, *embeddings]:
            seen = await see(it.client.post(it.url + path, json=body))
            assert (seen.status, seen.headers["X-Served-By"]) == (200, "ollama1"), seen
        names = ["llama3.1"] * len(paths) + ["nomic-embed-text"] * len(embeddings)
        assert [call.headers.get("X-Model") for call in generations(simulator)] == names


async def test_a_body_without_a_usable_name_has_no_header(make_settings: MakeSettings, simulator: Simulator) -> None:
    names = ["a\\r\\nX-Evil: 1", "mod\u00e8le", "x" * 2000, ""]
    bodies = [b"no json", b"[]", b'{"model": 3}', *[f'{{"model": "{name}"}}'.encode() for name in names]]
    async with behind(make_settings, simulator, upstream_model_header="X-Model") as it:
        for body in bodies:
            await see(it.client.post(f"{it.url}/api/chat", data=body))
    assert [call.data for call in generations(simulator)] == bodies
    assert all({"X-Model", "X-Evil"}.isdisjoint(call.headers) for call in generations(simulator))


async def test_no_header_names_the_model_unless_it_is_asked_for(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    async with behind(make_settings, simulator) as it:
        assert (await see(WHOLE.ask(it.client, it.url))).status == 200
        assert "X-Model" not in generations(simulator)[0].headers

"""The search example, as a process: with a file, with a Weaviate of the tests' own, and with an actual one."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from main import create_app
from simulator import Fault, Simulator
from tests.conftest import MakeSettings
from tests.service_process import ROOT, free_port
from tests.serving import serve

EXAMPLE = ROOT / "examples" / "search"
NOTES = [" ".join(text.split()) for text in (EXAMPLE / "notes.txt").read_text().split("\n\n")]
QUESTION = "When is the trade deadline of the league?"
WEAVIATE_CLASS = "Notes_nomic_embed_text_768"
KEY = "correct-horse"


class FakeWeaviate:
    """The calls that the example makes, answered as Weaviate 1.39 answers them."""

    def __init__(self) -> None:
        self.classes: dict[str, dict[str, Any]] = {}

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/schema", self._schema)
        app.router.add_post("/v1/schema", self._create)
        app.router.add_post("/v1/batch/objects", self._batch)
        app.router.add_post("/v1/graphql", self._graphql)
        return app

    async def _schema(self, _request: web.Request) -> web.Response:
        return web.json_response({"classes": [{"class": name} for name in self.classes]})

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        assert body["vectorizer"] == "none"
        assert body["properties"] == [{"name": "text", "dataType": ["text"]}]
        if body["class"] in self.classes:
            return web.json_response({"error": [{"message": "class name already exists"}]}, status=422)
        self.classes[body["class"]] = {}
        return web.json_response(body)

    async def _batch(self, request: web.Request) -> web.Response:
        objects = (await request.json())["objects"]
        for it in objects:
            self.classes[it["class"]][it["id"]] = it
        return web.json_response([it | {"result": {"status": "SUCCESS"}} for it in objects])

    async def _graphql(self, request: web.Request) -> web.Response:
        query = (await request.json())["query"]
        name, numbers, limit = re.findall(r"Get \{(\w+)\(nearVector: \{vector: \[(.*)\]\}, limit: (\d+)\)", query)[0]
        asked = [float(number) for number in numbers.split(",")]
        found = [
            {
                "text": it["properties"]["text"],
                "_additional": {"distance": 1 - sum(a * b for a, b in zip(asked, it["vector"], strict=True))},
            }
            for it in self.classes[name].values()
        ]
        found.sort(key=lambda it: it["_additional"]["distance"])
        return web.json_response({"data": {"Get": {name: found[: int(limit)]}}})


@pytest.fixture
async def url(make_settings: MakeSettings) -> AsyncIterator[str]:
    async with serve(create_app(make_settings(api_keys=[KEY]))) as url:
        yield url


async def run(folder: Path, *arguments: str | Path, **environment: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        EXAMPLE / "search.py",
        *arguments,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONWARNINGS": "error", "SERVICE_KEY": KEY} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def search(folder: Path, *arguments: str | Path, **environment: str) -> tuple[str, str]:
    """Return what it wrote: the answer, and its progress."""
    code, out, err = await run(folder, *arguments, **environment)
    assert code == 0, err
    return out, err


async def failure(folder: Path, *arguments: str | Path, **environment: str) -> str:
    """Return what a run said that must fail."""
    code, _, err = await run(folder, *arguments, **environment)
    assert code == 1, err
    assert "Traceback" not in err
    return err


async def from_texts_to_an_answer(folder: Path, simulator: Simulator, **environment: str) -> None:
    many = folder / "many.txt"
    many.write_text("\n\n".join([*NOTES, *(f"Round {n} of the draft." for n in range(60))]))
    for _ in range(2):
        _, progress = await search(folder, "add", many, **environment)
        assert re.search(r"100%.*2/2", progress)
    asked = [call.body["input"] for call in simulator.calls_to("/api/embed")]
    assert [len(texts) for texts in asked] == [64, 6] * 2
    assert all(text.startswith("search_document: ") for texts in asked for text in texts)
    answer, _ = await search(folder, "ask", QUESTION, **environment)
    written, *found = answer.strip().split("\n\n")
    assert simulator.calls_to("/api/embed")[-1].body["input"] == [f"search_query: {QUESTION}"]
    (chat,) = simulator.calls_to("/api/chat")
    system, user = (message["content"] for message in chat.body["messages"])
    assert written.startswith("[simulated gpt-oss]")
    assert user == QUESTION
    assert len(found) == len(set(found)) == 3
    assert re.fullmatch(r"\[0\.\d\d\] The trade deadline of the league is .*", found[0])
    assert all(text.split("] ", 1)[1] in system for text in found)


def test_the_way_from_text_to_answer_is_short() -> None:
    assert len((EXAMPLE / "search.py").read_text().splitlines()) < 120


async def test_with_a_file(url: str, simulator: Simulator, tmp_path: Path) -> None:
    await from_texts_to_an_answer(tmp_path, simulator, SERVICE_URL=url)
    assert (tmp_path / f"{WEAVIATE_CLASS}.npz").exists()


async def test_with_weaviate(url: str, simulator: Simulator, tmp_path: Path) -> None:
    weaviate = FakeWeaviate()
    async with TestServer(weaviate.app(), host="127.0.0.1") as server:
        weaviate_url = str(server.make_url("/"))
        await from_texts_to_an_answer(tmp_path, simulator, SERVICE_URL=url, WEAVIATE_URL=weaviate_url)
    assert len(weaviate.classes[WEAVIATE_CLASS]) == len(NOTES) + 60
    assert not (tmp_path / f"{WEAVIATE_CLASS}.npz").exists()


@pytest.mark.skipif("WEAVIATE_TEST_URL" not in os.environ, reason="needs a Weaviate, named in WEAVIATE_TEST_URL")
async def test_with_an_actual_weaviate(
    url: str, simulator: Simulator, tmp_path: Path, client: aiohttp.ClientSession
) -> None:
    weaviate_url = os.environ["WEAVIATE_TEST_URL"]
    try:
        await from_texts_to_an_answer(tmp_path, simulator, SERVICE_URL=url, WEAVIATE_URL=weaviate_url)
    finally:
        await client.delete(f"{weaviate_url}/v1/schema/{WEAVIATE_CLASS}")


async def test_what_the_service_says_is_shown(tmp_path: Path, url: str) -> None:
    told = await failure(tmp_path, "ask", QUESTION, SERVICE_URL=url, SERVICE_KEY="wrong")
    assert re.search(r"401 .*unauthorized", told)


async def test_a_model_that_is_not_installed_is_named(tmp_path: Path, make_settings: MakeSettings) -> None:
    async with serve(create_app(make_settings(embedding_model="mxbai-embed-large"))) as url:
        told = await failure(tmp_path, "add", EXAMPLE / "notes.txt", SERVICE_URL=url)
    assert "ollama pull mxbai-embed-large" in told.splitlines()[-1]


async def test_an_address_that_does_not_answer_is_named(tmp_path: Path, url: str) -> None:
    closed = f"http://127.0.0.1:{free_port()}"
    told = await failure(tmp_path, "ask", QUESTION, SERVICE_URL=closed)
    assert told.startswith(f"{closed}/api/ollama/embeddings: ")
    told = await failure(tmp_path, "ask", QUESTION, SERVICE_URL=url, WEAVIATE_URL=closed)
    assert told.startswith(f"{closed}/v1/schema: ")


async def test_a_file_without_texts_is_refused(tmp_path: Path, url: str) -> None:
    (tmp_path / "empty.txt").write_text(" \n\n")
    for name in ("empty.txt", "missing.txt"):
        told = await failure(tmp_path, "add", name, SERVICE_URL=url)
        assert told == f"There are no texts in {name}.\n"


async def test_a_question_before_the_first_text_is_refused(tmp_path: Path, url: str) -> None:
    async with TestServer(FakeWeaviate().app(), host="127.0.0.1") as server:
        for weaviate_url in ("", str(server.make_url("/"))):
            told = await failure(tmp_path, "ask", QUESTION, SERVICE_URL=url, WEAVIATE_URL=weaviate_url)
            assert told == "No texts are stored for this model: add some first.\n"


async def test_vectors_of_another_length_are_kept_apart(
    tmp_path: Path, make_settings: MakeSettings, simulator: Simulator
) -> None:
    async with serve(create_app(make_settings())) as url:
        await search(tmp_path, "add", EXAMPLE / "notes.txt", SERVICE_URL=url)
        short = {"model": "nomic-embed-text", "embeddings": [[0.6, 0.8]]}
        simulator.fault(Fault(path="/api/embed", status=200, body=json.dumps(short).encode(), times=None))
        (tmp_path / "one.txt").write_text("Only this.")
        await search(tmp_path, "add", "one.txt", SERVICE_URL=url)
        answer, _ = await search(tmp_path, "ask", QUESTION, SERVICE_URL=url)
    assert answer.endswith("[1.00] Only this.\n")

"""openapi.json describes OpenAI's API correctly."""

import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from pydantic import TypeAdapter

from routers.openapi import openai_examples as examples
from routers.responses.problems import PROBLEMS_BY_CODE
from routers.schemas.openai_responses import ChatCompletion, OpenAIEmbeddings, OpenAIError, OpenAIModel, OpenAIModels
from tests.api import openapi_document
from tests.openai_api import ask, chunks_in, data_in

REQUESTS = [
    pytest.param(path, example["value"], id=f"{path}-{name}")
    for path, named in {"chat/completions": examples.CHAT, "embeddings": examples.EMBEDDINGS}.items()
    for name, example in named.items()
]
ANSWERS = [
    (ChatCompletion, examples.COMPLETIONS),
    (OpenAIEmbeddings, examples.EMBEDDINGS_RESPONSES),
    (OpenAIModels, examples.MODELS),
    (OpenAIModel, examples.MODEL),
]


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    return openapi_document()


def operations(openapi: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path, item in openapi["paths"].items():
        if path.startswith("/v1/"):
            yield from item.values()


@pytest.mark.parametrize(("path", "body"), REQUESTS)
async def test_an_example_request_can_be_sent_unchanged(
    client: aiohttp.ClientSession, url: str, path: str, body: dict[str, Any]
) -> None:
    answer = await ask(client, url, path, body)
    assert answer.status == 200, answer.body
    if body.get("stream"):
        assert chunks_in(answer)
    elif path == "embeddings":
        TypeAdapter(OpenAIEmbeddings).validate_json(answer.body, strict=True, extra="forbid")
    else:
        TypeAdapter(ChatCompletion).validate_json(answer.body, strict=True, extra="forbid")


@pytest.mark.parametrize(("kind", "named"), ANSWERS, ids=lambda value: getattr(value, "__name__", ""))
def test_an_example_response_matches_its_schema(kind: type, named: dict[str, Any]) -> None:
    for example in named.values():
        TypeAdapter(kind).validate_json(json.dumps(example["value"]), strict=True, extra="forbid")


def test_an_example_stream_matches_its_schema() -> None:
    for example in examples.CHUNKS.values():
        *chunks, end = data_in(example["value"].encode())
        assert {json.loads(chunk)["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert end == "[DONE]"


def test_every_field_of_a_request_is_described(openapi: dict[str, Any]) -> None:
    for name in ("ChatCompletionRequest", "OpenAIEmbeddingsRequest"):
        for field, schema in openapi["components"]["schemas"][name]["properties"].items():
            assert schema.get("description"), f"{name}.{field}"


def test_errors_have_openais_format(openapi: dict[str, Any]) -> None:
    documented = set()
    for operation in operations(openapi):
        assert operation["tags"] == ["openai"]
        for status, response in operation["responses"].items():
            if status == "200":
                continue
            assert "x-should-retry" in response["headers"]
            for code, example in response["content"]["application/json"]["examples"].items():
                assert PROBLEMS_BY_CODE[code][0] == int(status)
                error = TypeAdapter(OpenAIError).validate_python(
                    {"error": {"param": None} | example["value"]["error"]},  # FastAPI omits nulls
                    extra="forbid",
                )
                assert error.error.code == code
                documented.add(code)
    assert documented == PROBLEMS_BY_CODE.keys() - {"not_found", "method_not_allowed", "not_offered"}

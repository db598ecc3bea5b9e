"""Invalid bodies: 422 with the field, and nothing is sent to Ollama."""

import aiohttp
import pytest

from simulator import Simulator
from tests.api import (
    call,
    post,
    problem_in,
)

BAD_BODIES: list[tuple[bytes, str]] = [
    (b"", "body"),
    (b"{", "body"),
    (b"[]", "body"),
    (b'"prompt"', "body"),
    (b"null", "body"),
    (b'{"prompt": NaN}', "body"),
    (b'{"prompt": "\xff"}', "body"),
    (b'{"prompt": "\\ud800', "body"),
    (b"[" * 100_000, "body"),
    (b'{"prompt": "Hi", "stop": [' + b"1," * 500_000 + b"1]}", "stop"),
    (b"{" + b",".join(b'"%d": 1' % number for number in range(50_000)) + b"}", "body"),
    (b"{}", "prompt"),
    (b'{"prompt": ""}', "prompt"),
    (b'{"prompt": "Hi", "temperature": "hot"}', "temperature"),
    (b'{"prompt": "Hi", "temperature": 3}', "temperature"),
    (b'{"prompt": "Hi", "max_tokens": 0}', "max_tokens"),
    (b'{"prompt": "Hi", "options": {"num_predict": 0}}', "options.num_predict"),
    (b'{"prompt": "Hi", "seed": 100000000000000000000}', "seed"),
    (b'{"prompt": "Hi", "model": "no such name!"}', "model"),
    (b'{"prompt": "Hi", "model": "x\\r\\nX-Evil: 1://registry.ollama.ai/library/gpt-oss"}', "model"),
    (b'{"prompt": "Hi", "stop": 5}', "stop"),
    (b'{"prompt": "Hi", "format": "xml"}', "format"),
    (b'{"prompt": "Hi", "format": {"type": "banana"}}', "format"),
    (b'{"prompt": "Hi", "think": "hard"}', "think"),
    (b'{"prompt": "Hi", "images": ["https://example.org/a.png"]}', "images.0"),
    (b'{"prompt": "Hi", "keep_alive": "5 parsecs"}', "keep_alive"),
    (b'{"prompt": "Hi", "options": {"num_ctx": "big"}}', "options.num_ctx"),
    (b'{"prompt": "Hi", "options": {"temprature": 1}}', "options.temprature"),
    (b'{"prompt": "Hi", "temprature": 1}', "temprature"),
]


@pytest.mark.parametrize(("body", "field"), BAD_BODIES, ids=lambda value: str(value)[:60])
async def test_an_invalid_body_is_422_with_its_field_and_nothing_is_sent(
    client: aiohttp.ClientSession, url: str, simulator: Simulator, body: bytes, field: str
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await call(client, "POST", f"{url}/api/ollama/generate", data=body, headers=headers)
    document = problem_in(answer, "invalid_request")
    assert {line["field"] for line in document["errors"]} == {field}
    assert all(line["message"] for line in document["errors"])
    assert field in document["detail"]
    assert document["retryable"] is False
    assert simulator.calls_to("/api/generate") == []


async def test_all_invalid_fields_are_reported(client: aiohttp.ClientSession, url: str) -> None:
    answer = await post(client, url, "chat", {"messages": [{"role": "robot"}, {"content": 5}], "top_p": 2, "x": 1})
    fields = [line["field"] for line in problem_in(answer, "invalid_request")["errors"]]
    assert sorted(fields) == ["messages.0.role", "messages.1.content", "messages.1.role", "top_p", "x"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_without_json_content_type_is_422_with_a_hint(
    client: aiohttp.ClientSession, url: str, content_type: str
) -> None:
    answer = await call(
        client, "POST", f"{url}/api/ollama/generate", data=b'{"prompt": "Hi"}', headers={"Content-Type": content_type}
    )
    assert "Content-Type: application/json" in problem_in(answer, "invalid_request")["detail"]

from typing import Any

import orjson
import pytest

from services.ollama.errors import OllamaResponseError
from services.ollama.parsing.chunk_joining import join_chunks
from services.ollama.parsing.raw_figures import figures_in

FIGURES = {"total_duration": 9, "prompt_eval_count": 5, "eval_count": 2, "eval_duration": 3_000_000_000}
LAST = {"created_at": "b", "done": True, "done_reason": "stop"}
CALLS = [{"function": {"name": name, "arguments": {"day": 1}}} for name in ("first", "second")]


def lines(*chunks: dict[str, Any]) -> bytes:
    return b"".join(orjson.dumps({"model": "m", "created_at": "a", "done": False} | chunk) + b"\n" for chunk in chunks)


def joined(*chunks: dict[str, Any]) -> Any:
    return orjson.loads(join_chunks(lines(*chunks)))


def test_texts_and_lists_of_generate_are_joined_and_all_else_is_of_the_last_chunk() -> None:
    assert joined(
        {"response": "", "thinking": "I ", "logprobs": [{"token": "I"}]},
        {"response": "", "thinking": "see."},
        {"response": "Yes", "logprobs": [{"token": "Yes"}]},
        LAST | FIGURES | {"response": "", "context": [1, 2]},
    ) == {
        "model": "m",
        "response": "Yes",
        "thinking": "I see.",
        "logprobs": [{"token": "I"}, {"token": "Yes"}],
        "context": [1, 2],
        **LAST,
        **FIGURES,
    }


def test_messages_of_chat_are_joined() -> None:
    message = {"role": "assistant", "content": ""}
    assert joined(
        {"message": message | {"thinking": "Hm."}},
        {"message": message | {"tool_calls": CALLS[:1]}},
        {"message": message | {"tool_calls": CALLS[1:]}},
        {"message": message | {"content": "Done"}},
        LAST | FIGURES | {"message": message},
    ) == {
        "model": "m",
        "message": {"role": "assistant", "content": "Done", "thinking": "Hm.", "tool_calls": CALLS},
        **LAST,
        **FIGURES,
    }


def test_one_chunk_has_no_further_members() -> None:
    chunk = {"model": "m", "message": {"role": "assistant", "content": "a"}} | LAST
    assert orjson.loads(join_chunks(orjson.dumps(chunk))) == chunk


@pytest.mark.parametrize("name", ["thinking", "logprobs"])
def test_the_figures_are_found_after_long_members(name: str) -> None:
    long: Any = "long " * 20_000 if name == "thinking" else [{"token": "long", "logprob": -1.5}] * 5000
    body = join_chunks(lines({"response": "", name: long}, {"response": "Yes"}, LAST | FIGURES | {"response": ""}))
    found = figures_in(body)
    assert (found.model, found.prompt_tokens, found.completion_tokens, found.done_reason) == ("m", 5, 2, "stop")


@pytest.mark.parametrize("body", [b"", b"\n", b"{", b"[]\n", b'{"done": false}\n7\n'])
def test_invalid_chunks_are_an_error(body: bytes) -> None:
    with pytest.raises(OllamaResponseError):
        join_chunks(body)

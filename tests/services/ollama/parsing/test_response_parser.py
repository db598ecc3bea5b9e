from dataclasses import asdict
from typing import Any

import pytest

from services.completion import Completion, CompletionRequest, ResolvedModel
from services.ollama.errors import OllamaResponseError
from services.ollama.events import Timings, Usage
from services.ollama.parsing.response_parser import ResponseParser

SERVED = ResolvedModel("gpt-oss", "gpt-oss", fallback=False)
SCHEMA = {"type": "object", "properties": {"keep": {"type": "boolean"}}, "required": ["keep"]}
DONE: dict[str, Any] = {"response": "Hi", "done": True, "done_reason": "stop"}


def request(response_format: Any = None) -> CompletionRequest:
    return CompletionRequest(path="/api/generate", model=None, content={}, response_format=response_format)


def read(chunk: dict[str, Any], response_format: Any = None, served: ResolvedModel = SERVED) -> Completion:
    return Completion.read(chunk, request(response_format), served)


def test_counts_are_tokens_and_durations_are_milliseconds() -> None:
    done = read(
        DONE
        | {"total_duration": 3_000_000_000, "load_duration": 1_500_000, "prompt_eval_count": 7}
        | {"prompt_eval_duration": 250_000_000, "eval_count": 40, "eval_duration": 2_000_000_000}
    ).done
    assert done.usage == Usage(prompt_tokens=7, completion_tokens=40, total_tokens=47)
    assert done.timings == Timings(3000.0, 1.5, 250.0, 2000.0, tokens_per_second=20.0)


def test_missing_numbers_are_null() -> None:
    done = read(DONE).done
    assert set(asdict(done.usage).values()) == {None}
    assert set(asdict(done.timings).values()) == {None}


def test_the_total_requires_both_counts() -> None:
    assert read(DONE | {"eval_count": 4}).done.usage == Usage(None, 4, None)


def test_the_rate_requires_a_duration() -> None:
    assert read(DONE | {"eval_count": 4, "eval_duration": 0}).done.timings.tokens_per_second is None


@pytest.mark.parametrize("reason", [None, ""])
def test_a_missing_reason_is_null(reason: str | None) -> None:
    assert read(DONE | {"done_reason": reason}).done.done_reason is None


def test_chat_and_generate_are_parsed_the_same_way() -> None:
    calls = [{"function": {"name": "score", "arguments": {"player": "Kelce"}}}]
    message = {"role": "assistant", "content": "Hi", "thinking": "Hm.", "tool_calls": calls}
    chat = read({"message": message, "done": True})
    generate = read({"response": "Hi", "thinking": "Hm.", "tool_calls": calls, "done": True})
    assert chat == generate
    assert (chat.text, chat.thinking, chat.tool_calls) == ("Hi", "Hm.", calls)


def test_null_text_is_empty() -> None:
    found = read({"message": {"role": "assistant", "content": None}, "done": True})
    assert (found.text, found.thinking, found.tool_calls) == ("", None, [])


@pytest.mark.parametrize(
    "chunk",
    [
        {},
        {"response": "Hi"},
        {"response": "Hi", "done": False},
        {"response": "Hi", "done": "true"},
        {"response": 5, "done": True},
        {"response": "Hi", "thinking": ["Hm."], "done": True},
        {"message": "Hi", "done": True},
        {"message": {"content": ["Hi"]}, "done": True},
        {"message": {"content": "", "tool_calls": 5}, "done": True},
        {"message": {"content": "", "tool_calls": ["score"]}, "done": True},
        {"response": "Hi", "done": True, "done_reason": 5},
    ],
    ids=str,
)
def test_a_malformed_response_is_an_error(chunk: dict[str, Any]) -> None:
    with pytest.raises(OllamaResponseError):
        read(chunk)


def test_a_number_of_another_type_is_null() -> None:
    done = read(DONE | {"eval_count": "many", "prompt_eval_count": True, "total_duration": 1.5}).done
    assert (done.usage.completion_tokens, done.usage.prompt_tokens) == (None, None)


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        ({"response": "", "thinking": "Hm.", "done_reason": "length"}, ["empty_response_thinking"]),
        ({"response": "", "thinking": "Hm.", "done_reason": "stop"}, []),
        ({"response": "", "done_reason": "length"}, []),
        ({"response": "Hi", "thinking": "Hm.", "done_reason": "length"}, []),
        (
            {"message": {"content": "", "thinking": "Hm.", "tool_calls": [{"function": {}}]}, "done_reason": "length"},
            [],
        ),
    ],
)
def test_a_response_that_is_only_thinking_has_a_warning(chunk: dict[str, Any], expected: list[str]) -> None:
    assert read(chunk | {"done": True}).done.warnings == expected


@pytest.mark.parametrize(
    ("text", "response_format", "expected"),
    [
        ('{"keep": true}', "json", []),
        ('{"keep": tr', "json", ["invalid_json"]),
        ("", "json", ["invalid_json"]),
        ('{"keep": true}', SCHEMA, []),
        ('{"keep": 1}', SCHEMA, ["invalid_json"]),
        ("{}", SCHEMA, ["invalid_json"]),
        ("anything", None, []),
    ],
)
def test_json_that_does_not_satisfy_the_format_has_a_warning(
    text: str, response_format: Any, expected: list[str]
) -> None:
    assert read(DONE | {"response": text}, response_format).done.warnings == expected


def test_the_fallback_warning_is_the_first() -> None:
    served = ResolvedModel("gpt-oss", "unknown", fallback=True)
    assert read(DONE, "json", served).done.warnings == ["fallback_model", "invalid_json"]


def test_the_complete_text_of_a_stream_is_validated() -> None:
    answer = ResponseParser(SCHEMA)
    chunks: list[dict[str, Any]] = [{"response": '{"keep"'}, {"response": ": true}"}, {"response": "", "done": True}]
    events = [event for chunk in chunks for event in answer.events(chunk)]
    assert [event.type for event in events] == ["token", "token", "done"]
    assert (
        events[-1] == Completion.read(DONE | {"response": '{"keep": true}', "done_reason": ""}, request(), SERVED).done
    )
    assert answer.done is not None


def test_the_events_of_a_chunk_are_in_order() -> None:
    call = {"function": {"name": "score", "arguments": {}}}
    message = {"thinking": "Hm.", "content": "Hi", "tool_calls": [call, call]}
    events = list(ResponseParser(None).events({"message": message, "done": True}))
    assert [event.type for event in events] == ["thinking", "token", "tool_call", "tool_call", "done"]

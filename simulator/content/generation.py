"""Simulated generation: the tokens of a response and their JSON lines."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from simulator import clock
from simulator.content.json_answers import json_answer, value_for
from simulator.content.text import (
    answer_tokens,
    count_tokens,
    cut_at_stop,
    random_for,
    thinking_tokens,
    token_ids,
    tokenize,
)
from simulator.faults import Fault
from simulator.models import Model
from simulator.wire.replies import dumps

_TOOL_CALL_TOKENS = 5
_PADDING_TOKEN = 12345
_PADDING_BYTES = len(f"{_PADDING_TOKEN},")


@dataclass
class Generation:
    """The tokens of one response, and how they are rendered."""

    model_as_sent: str
    chat: bool
    prompt: str
    load_ns: int
    prompt_tokens: int
    prompt_given: int
    """Tokens of the prompt before it was cut."""
    context: int
    prompt_cut: bool
    """Whether the prompt exceeded the context length."""
    with_context: bool
    started_ns: int = field(default_factory=time.perf_counter_ns)
    thinking: list[str] = field(default_factory=list)
    content: list[str] = field(default_factory=list)
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    hidden_tokens: int = 0
    """Tokens that are counted but not part of the response."""
    done_reason: str = "stop"
    times_one_token: bool = True
    """Whether the duration of a single token is reported; before 0.30 it is measured from the first token."""

    @property
    def eval_count(self) -> int:
        """Number of generated tokens, including thinking."""
        calls = _TOOL_CALL_TOKENS * len(self.tool_calls)
        return len(self.thinking) + len(self.content) + self.hidden_tokens + calls

    def lines(self, fault: Fault) -> Iterator[bytes]:
        """Yield the lines of a stream; the last contains the metrics."""
        for token in self.thinking:
            yield dumps(self._object(thinking=token)) + b"\n"
        tokens = itertools.cycle([" again", " und", " weiter", " →"]) if fault.endless else self.content
        for token in tokens:
            yield dumps(self._object(token)) + b"\n"
        for call in self.tool_calls:
            yield dumps(self._object(tool_calls=[call])) + b"\n"
        last = self._object() | self._metrics()
        yield _padded(last, fault.line_bytes) + b"\n"

    def whole(self, fault: Fault) -> bytes:
        """Return the response that is not streamed, without a newline."""
        answer = self._object("".join(self.content), "".join(self.thinking), self.tool_calls)
        if fault.end_after is None:
            answer |= self._metrics()
        return _padded(answer, fault.line_bytes)

    def _object(
        self, text: str = "", thinking: str = "", tool_calls: list[dict[str, Any]] | None = None
    ) -> dict[str, Any]:
        extra: dict[str, Any] = {"thinking": thinking} if thinking else {}
        if tool_calls:
            extra["tool_calls"] = tool_calls
        head: dict[str, Any] = {"model": self.model_as_sent, "created_at": clock.now()}
        if self.chat:
            head["message"] = {"role": "assistant", "content": text, **extra}
        else:
            head |= {"response": text, **extra}
        return head | {"done": False}

    def _metrics(self) -> dict[str, Any]:
        total = time.perf_counter_ns() - self.started_ns + self.load_ns
        prompt_ns = 1_000_000 + 10_000 * self.prompt_tokens
        metrics: dict[str, Any] = {
            "total_duration": total + prompt_ns,
            "load_duration": self.load_ns,
            "prompt_eval_count": self.prompt_tokens,
            "prompt_eval_duration": prompt_ns if self.prompt_tokens else 0,
            "eval_count": self.eval_count,
            "eval_duration": max(total - self.load_ns, 1) if self.eval_count > 1 or self.times_one_token else 0,
        }
        last: dict[str, Any] = {"done": True, "done_reason": self.done_reason}
        if self.with_context:
            last["context"] = token_ids(f"{self.prompt} {''.join(self.content)}")
        # Ollama omits zero values.
        return last | {key: value for key, value in metrics.items() if value}


def _padded(answer: dict[str, Any], least_bytes: int) -> bytes:
    """Return the JSON of the last line, padded to at least this many bytes with `context`."""
    line = dumps(answer)
    if len(line) >= least_bytes:
        return line
    bare = dumps(answer | {"context": []})
    return dumps(answer | {"context": [_PADDING_TOKEN] * ((least_bytes - len(bare)) // _PADDING_BYTES + 1)})


def generate(
    model: Model, fields: dict[str, Any], options: dict[str, Any], load_ns: int, answer_length: int
) -> Generation:
    """Generate the response to a request to /api/generate or, if it has messages, /api/chat."""
    chat = "messages" in fields
    context = min(int(options.get("num_ctx") or 4096), model.context_length)
    prompt = _chat_prompt(fields["messages"]) if chat else f"{fields.get('system', '')} {fields['prompt']}"
    prompt_given = _prompt_tokens(prompt)
    is_too_long = prompt_given > context
    if chat and is_too_long:
        prompt = _chat_prompt(_that_fit(fields["messages"], context))
    prompt_tokens = _prompt_tokens(prompt)
    made = Generation(
        model_as_sent=fields["model"],
        chat=chat,
        prompt=prompt,
        load_ns=load_ns,
        prompt_tokens=min(prompt_tokens, context),
        prompt_given=prompt_given,
        context=context,
        prompt_cut=is_too_long,
        with_context=not chat and not fields.get("raw"),
    )
    rng = random_for(model.name.key, options.get("seed", -1), prompt)
    wanted = fields.get("format") or None
    # On /api/generate a grammar applies from the first token. That prevents thinking, and the header without which the
    # text of gpt-oss is not recognized.
    constrained = wanted is not None and not chat
    if _thinks(model, fields) and not constrained:
        made.thinking = thinking_tokens(rng)
    call = _tool_call(fields, rng) if chat else None
    if call is not None:
        made.tool_calls = [call]
    elif wanted is not None:
        made.content = tokenize(json_answer(wanted, model.label, rng))
    else:
        made.content = answer_tokens(model.label, rng, answer_length)
    made.content = cut_at_stop(made.content, options.get("stop", []))
    _limit(made, options.get("num_predict", -1))
    if fields.get("shift") is False:
        # The last token does not occupy the context.
        _limit(made, context - made.prompt_tokens + 1)
    if constrained and model.always_thinks:
        made.hidden_tokens, made.content = len(made.content), []
    return made


def _chat_prompt(messages: list[dict[str, Any]]) -> str:
    return " ".join(f"{str(message.get('role', '')).lower()}: {message.get('content') or ''}" for message in messages)


def _prompt_tokens(prompt: str) -> int:
    return count_tokens(prompt) + 2


def _that_fit(messages: list[dict[str, Any]], context: int) -> list[dict[str, Any]]:
    """Return the messages without the oldest ones that do not fit; the last one and those of the system stay."""
    for first in range(len(messages)):
        before = [message for message in messages[:first] if str(message.get("role", "")).lower() == "system"]
        kept = before + messages[first:]
        if _prompt_tokens(_chat_prompt(kept)) <= context:
            break
    return kept


def _thinks(model: Model, fields: dict[str, Any]) -> bool:
    if "thinking" not in model.capabilities or fields.get("raw"):
        return False
    return model.always_thinks or fields.get("think", True) is not False


def _limit(made: Generation, tokens: int) -> None:
    """Truncate the response to a number of tokens, including thinking; 0 or less means no limit."""
    if tokens <= 0 or made.eval_count <= tokens:
        return
    made.thinking = made.thinking[:tokens]
    made.content = made.content[: tokens - len(made.thinking)]
    made.tool_calls = []
    made.done_reason = "length"


def _tool_call(fields: dict[str, Any], rng: Any) -> dict[str, Any] | None:
    """Return a call of the first tool that is named in the last message, if that is from the user."""
    last = fields["messages"][-1]
    if str(last.get("role", "")).lower() != "user":
        return None
    for tool in fields.get("tools", ()):
        function = tool.get("function") or {}
        name = function.get("name")
        if name and name in (last.get("content") or ""):
            arguments = value_for(function.get("parameters") or {"type": "object"}, rng)
            call = {"index": 0, "name": name, "arguments": arguments}
            return {"id": f"call_{rng.getrandbits(32):08x}", "function": call}
    return None

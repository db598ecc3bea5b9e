"""Responses of OpenAI's API, complete and as a stream of chunks."""

import base64
import secrets
import struct
import time
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from routers.asgi_scope import first_header
from routers.responses.json_response import json_response
from routers.responses.openai_errors import error_object
from routers.responses.problems import PROBLEMS_BY_CODE
from routers.responses.stream_format import StreamFormat
from routers.responses.streaming import StreamingCompletion, model_headers
from server.shutdown import Shutdown
from services.completion import Completion, CompletionRequest
from services.ollama.errors import OllamaResponseError
from services.ollama.events import Done, Error, Event, Start, Thinking, Token, Usage
from services.ollama_service import OllamaService

DONE = b"data: [DONE]\n\n"


class ChatCompletionResponse(Response):
    """Runs a completion and sends the complete response."""

    def __init__(self, request: CompletionRequest, service: OllamaService, shutdown: Shutdown) -> None:
        self._request = request
        self._service = service
        self._shutdown = shutdown
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the response."""
        _apply_fallback_header(self._request, scope)
        async with self._shutdown.drain_guard():
            completion = await self._service.complete(self._request)
        served = completion.served
        await json_response(chat_completion(completion), model_headers(served))(scope, receive, send)


class ChatCompletionStream(StreamingCompletion):
    """Streams a completion as chunks; `Accept` is ignored, as OpenAI's clients always send `application/json`."""

    def __init__(
        self, request: CompletionRequest, service: OllamaService, shutdown: Shutdown, *, include_usage: bool
    ) -> None:
        super().__init__(request, service, shutdown)
        self._include_usage = include_usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the response."""
        _apply_fallback_header(self._request, scope)
        await super().__call__(scope, receive, send)

    def _format_for(self, scope: Scope) -> StreamFormat:  # noqa: ARG002 - the base class negotiates by it
        encoder = ChunkEncoder(include_usage=self._include_usage)
        return StreamFormat("text/event-stream", encoder.encode, has_heartbeat=True, is_negotiated=False)


class ChunkEncoder:
    """Encodes the events of a completion as chunks."""

    def __init__(self, *, include_usage: bool) -> None:
        self._include_usage = include_usage
        self._tool_calls = 0
        self._head: dict[str, Any] = {
            "id": _completion_id(),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
        }
        # The JSON before and after the text of a chunk: a tenth of the time of serializing the whole object.
        self._before_text = self._before_reasoning = self._after_text = b""

    def encode(self, event: Event) -> bytes:
        """Encode an event as one or more chunks.

        Raises:
            OllamaResponseError: if a tool call is malformed.
        """
        match event:
            case Token():
                return self._before_text + orjson.dumps(event.text) + self._after_text
            case Thinking():
                text = orjson.dumps(event.text)
                return self._before_reasoning + text + b',"reasoning":' + text + self._after_text
            case Start():
                return self._begin(event.model)
            case Done():
                return self._end(event)
            case Error():
                status, _ = PROBLEMS_BY_CODE[event.code]
                return _data(error_object(status, event.code, event.detail))
        call = tool_call(event.tool_call)
        self._tool_calls += 1
        return self._chunk({"tool_calls": [{"index": self._tool_calls - 1, **call}]})

    def _begin(self, model: str) -> bytes:
        self._head["model"] = model
        before, self._after_text = self._chunk({}).split(b"}", 1)
        self._before_text = before + b'"content":'
        self._before_reasoning = before + b'"reasoning_content":'
        self._after_text = b"}" + self._after_text
        return self._chunk({"role": "assistant", "content": ""})

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None, **members: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        usage = {"usage": None} if self._include_usage else {}
        return _data({**self._head, "choices": [choice], **usage, **members})

    def _end(self, done: Done) -> bytes:
        reason = finish_reason(done, has_tool_calls=self._tool_calls > 0)
        last = self._chunk({}, reason, warnings=done.warnings)
        if self._include_usage:
            last += _data({**self._head, "choices": [], "usage": usage_object(done.usage)})
        return last + DONE


def chat_completion(completion: Completion) -> dict[str, Any]:
    """Return the body of a complete response.

    Raises:
        OllamaResponseError: if a tool call is malformed.
    """
    done = completion.done
    calls = [tool_call(call) for call in completion.tool_calls]
    message: dict[str, Any] = {"role": "assistant", "content": completion.text or (None if calls else "")}
    message["refusal"] = None
    if completion.thinking:
        message |= {"reasoning_content": completion.thinking, "reasoning": completion.thinking}
    if calls:
        message["tool_calls"] = calls
    reason = finish_reason(done, has_tool_calls=bool(calls))
    return {
        "id": _completion_id(),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": completion.served.model,
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": usage_object(done.usage),
        "warnings": done.warnings,
    }


def tool_call(call: dict[str, Any]) -> dict[str, Any]:
    """Convert an Ollama tool call to OpenAI's format; a missing id is generated.

    Raises:
        OllamaResponseError: if it is malformed.
    """
    match call:
        case {"function": {"name": str(name), **function}}:
            arguments = function.get("arguments") or {}
            text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
            id_ = call.get("id") or f"call_{secrets.token_hex(12)}"
            return {"id": id_, "type": "function", "function": {"name": name, "arguments": text}}
    detail = "Ollama's tool call is malformed."
    raise OllamaResponseError(detail)


def finish_reason(done: Done, *, has_tool_calls: bool) -> str:
    """Return OpenAI's finish reason; for tool calls Ollama reports `stop`."""
    if has_tool_calls:
        return "tool_calls"
    return "length" if done.done_reason == "length" else "stop"


def usage_object(usage: Usage) -> dict[str, int]:
    """Return the token counts; clients expect numbers, so a missing count is 0.

    An unknown context length is omitted.
    """
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    tokens = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return tokens | ({"context_length": usage.context_length} if usage.context_length is not None else {})


def base64_vector(vector: list[float]) -> str:
    """Encode a vector as base64 of little-endian float32.

    Raises:
        OllamaResponseError: if a number exceeds float32.
    """
    try:
        packed = struct.pack(f"<{len(vector)}f", *vector)
    except OverflowError as error:
        detail = "Ollama's vector has a number that exceeds float32."
        raise OllamaResponseError(detail) from error
    return base64.b64encode(packed).decode()


def _apply_fallback_header(request: CompletionRequest, scope: Scope) -> None:
    if first_header(scope, b"x-fallback").strip().lower() == b"false":
        request.allow_fallback = False


def _completion_id() -> str:
    return f"chatcmpl-{secrets.token_hex(12)}"


def _data(content: dict[str, Any]) -> bytes:
    return b"data: %s\n\n" % orjson.dumps(content)

"""Simulated Ollama for benchmarks, faster than any service in front of it.

Responses are rendered once and sent in a single write, so that the service limits the throughput and not its upstream.
A directive in the prompt, which all contenders forward unchanged, controls the response:

* `[bench rate=50 tokens=250]` streams 50 tokens per second, each with the time it was sent (monotonic nanoseconds);
* `[bench flush=1]` sends each token in a separate write without a pause, as Ollama does with a fast model;
* `[bench delay_ms=20]` delays a response that is not streamed.

Without a directive a stream is 100 tokens in one write.
Run it with `python -m benchmarks.upstream --port 0`; it prints the port it listens on.
"""

import argparse
import asyncio
import functools
import json
import math
import os
import random
import re
import time
from typing import cast

import uvloop

BURST_TOKENS = 100
EMBEDDING_DIMENSION = 768
MODELS = ("gpt-oss:latest", "llama3.1:latest", "nomic-embed-text:latest")
CREATED_AT = "2026-01-01T00:00:00.123456789Z"

_STREAM_OFF = re.compile(rb'"stream"\s*:\s*false')
_DIRECTIVE = re.compile(rb"\[bench ([^]]*)\]")
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"


def _line(message: dict[str, object], **rest: object) -> bytes:
    """Render a line of NDJSON, compact as in Ollama."""
    response = {"model": MODELS[0], "created_at": CREATED_AT, **message, **rest}
    return json.dumps(response, separators=(",", ":")).encode() + b"\n"


def _text(kind: str, text: str) -> dict[str, object]:
    return {"message": {"role": "assistant", "content": text}} if kind == "chat" else {"response": text}


def _final(tokens: int) -> dict[str, object]:
    return {
        "done": True,
        "done_reason": "stop",
        "total_duration": 2_104_557_201,
        "load_duration": 30_412_555,
        "prompt_eval_count": 26,
        "prompt_eval_duration": 41_200_127,
        "eval_count": tokens,
        "eval_duration": 2_000_000_000,
    }


def _response(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {len(body)}"
    return head.encode() + _HEAD_END + body


def _chunk(line: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(line), line)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked" + _HEAD_END
LAST_CHUNK = b"0\r\n\r\n"


@functools.cache
def complete_response(kind: str) -> bytes:
    """Render a response that is not streamed."""
    words = "".join(f" word{n:02d}" for n in range(BURST_TOKENS))
    return _response(_line(_text(kind, words), **_final(BURST_TOKENS))[:-1])


@functools.cache
def burst_response(kind: str, tokens: int) -> bytes:
    """Render a stream for a single write: one HTTP chunk per line."""
    lines = [_line(_text(kind, f" word{n % 100:02d}"), done=False) for n in range(tokens)]
    lines.append(_line(_text(kind, ""), **_final(tokens)))
    return STREAM_HEAD + b"".join(map(_chunk, lines)) + LAST_CHUNK


@functools.cache
def flushed_response(kind: str, tokens: int) -> list[bytes]:
    """Render the same stream as one piece per write."""
    first, *rest = burst_response(kind, tokens).removeprefix(STREAM_HEAD).split(b"}\n\r\n")
    lines = [piece + b"}\n\r\n" for piece in (first, *rest[:-1])]
    return [STREAM_HEAD, *lines, rest[-1]]


@functools.cache
def embed_response() -> bytes:
    """Render a constant embedding: a unit vector with the precision of float32."""
    numbers = random.Random(768)
    vector = [numbers.gauss(0, 1) for _ in range(EMBEDDING_DIMENSION)]
    length = math.sqrt(sum(x * x for x in vector))
    rounded = [float(f"{x / length:.8g}") for x in vector]
    response = {
        "model": MODELS[2],
        "embeddings": [rounded],
        "total_duration": 14_143_917,
        "prompt_eval_count": 12,
    }
    return _response(json.dumps(response, separators=(",", ":")).encode())


@functools.cache
def metadata_responses() -> dict[bytes, bytes]:
    """Render the responses about the server and its models."""
    details = {"parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"]}
    models = [
        {
            "name": name,
            "model": name,
            "modified_at": CREATED_AT,
            "size": 4_661_224_676,
            "digest": f"{n:064x}",
            "details": details,
        }
        for n, name in enumerate(MODELS)
    ]
    bodies: dict[bytes, object] = {
        b"GET /api/version": {"version": "0.0.0-benchmark"},
        b"GET /api/tags": {"models": models},
        b"GET /api/ps": {"models": []},
    }
    return {route: _response(json.dumps(body).encode()) for route, body in bodies.items()}


def _directive(body: bytes) -> dict[bytes, float]:
    """Parse the directive of a request into names and numbers."""
    found = _DIRECTIVE.search(body)
    if found is None:
        return {}
    pairs = (word.split(b"=") for word in found[1].split())
    return {name: float(number) for name, number in pairs}


class UpstreamProtocol(asyncio.Protocol):
    """One connection, which handles its requests one after the other."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Stop a paced stream whose client has disconnected."""
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Respond to each complete request."""
        self._buffer += data
        while (head_end := self._buffer.find(_HEAD_END)) >= 0:
            head = self._buffer[:head_end]
            end = self._end_of_body(head, head_end + len(_HEAD_END))
            if not 0 <= end <= len(self._buffer):
                return
            body, self._buffer = self._buffer[head_end + len(_HEAD_END) : end], self._buffer[end:]
            self._respond(head[: head.find(b" HTTP/")], body)

    def _end_of_body(self, head: bytes, start: int) -> int:
        """Return the offset of the end of a request, or -1 if a chunked body is incomplete; chunks are not decoded."""
        if _CHUNKED.search(head):
            last = self._buffer.find(LAST_CHUNK, start)
            return last + len(LAST_CHUNK) if last >= 0 else -1
        length = _CONTENT_LENGTH.search(head)
        return start + (int(length[1]) if length else 0)

    def _respond(self, route: bytes, body: bytes) -> None:
        if route == b"POST /api/chat":
            self._complete("chat", body)
        elif route == b"POST /api/generate":
            self._complete("generate", body)
        elif route == b"POST /api/embed":
            self._transport.write(embed_response())
        else:
            not_found = _response(b'{"error":"not found"}', "404 Not Found")
            self._transport.write(metadata_responses().get(route, not_found))

    def _complete(self, kind: str, body: bytes) -> None:
        directive = _directive(body)
        if _STREAM_OFF.search(body):
            if b"delay_ms" in directive:
                delay_seconds = directive[b"delay_ms"] / 1000
                self._timer = self._loop.call_later(delay_seconds, self._transport.write, complete_response(kind))
            else:
                self._transport.write(complete_response(kind))
        elif b"rate" in directive:
            self._transport.write(STREAM_HEAD)
            self._tick(kind, 1 / directive[b"rate"], int(directive[b"tokens"]), self._loop.time())
        else:
            tokens = int(directive.get(b"tokens", BURST_TOKENS))
            if b"flush" in directive:
                self._flush(flushed_response(kind, tokens))
            else:
                self._transport.write(burst_response(kind, tokens))

    def _flush(self, pieces: list[bytes]) -> None:
        """Write each piece separately to the socket, as the transport would join them."""
        descriptor = self._transport.get_extra_info("socket").fileno()
        for n, piece in enumerate(pieces):
            try:
                written = os.write(descriptor, piece)
            except BlockingIOError:
                written = 0
            if written < len(piece):  # the socket buffer is full: let the transport send the rest
                self._transport.write(piece[written:] + b"".join(pieces[n + 1 :]))
                return

    def _tick(self, kind: str, interval_seconds: float, remaining: int, due: float) -> None:
        """Send a token of a paced stream, and schedule the next at a fixed interval, however late this one is."""
        if remaining == 0:
            self._transport.write(_chunk(_line(_text(kind, ""), **_final(0))) + LAST_CHUNK)
            return
        self._transport.write(_chunk(_paced_line(kind) % time.monotonic_ns()))
        due += interval_seconds
        self._timer = self._loop.call_at(due, self._tick, kind, interval_seconds, remaining - 1, due)


@functools.cache
def _paced_line(kind: str) -> bytes:
    return _line(_text(kind, "@%d "), done=False)


async def serve(port: int) -> None:
    """Listen on loopback until the process ends."""
    server = await asyncio.get_running_loop().create_server(UpstreamProtocol, "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Run the upstream in this process."""
    parser = argparse.ArgumentParser(description="Serve pre-rendered responses of the Ollama API.")
    parser.add_argument("--port", type=int, default=0, help="0 selects a free port; the port is printed")
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()

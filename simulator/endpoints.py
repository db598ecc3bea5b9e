"""Ollama's endpoints: what each returns; `simulator.wire.delivery` sends it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from simulator import clock
from simulator.ages import Age, fault_of_schema, listed, too_long
from simulator.content.embeddings import embedding, raw_embedding
from simulator.content.generation import generate
from simulator.content.text import ANSWER_TOKENS, count_tokens
from simulator.faults import Fault
from simulator.models import Library, Model
from simulator.names import Name, parse_name, split_source
from simulator.runners import Runners
from simulator.wire.errors import RefusedError, RunnerError
from simulator.wire.replies import Reply, Stream, dumps, json_reply
from simulator.wire.requests import checked_options, decode, parse_json

VERSION = "0.0.0-simulator"
TOO_LONG = "the input length exceeds the context length"
LOAD_FAILED = "llama-server process has terminated: exit status 1: error loading model: simulated failure"
NO_EMBEDDINGS = (
    '{"error":{"code":501,"message":"This server does not support embeddings. Start it with `--embeddings`",'
    '"type":"not_supported_error"}}'
)

Endpoint = Callable[[bytes, Fault], Awaitable[Reply | Stream]]


class Endpoints:
    """The routes, and the responses they return."""

    def __init__(self, library: Library, runners: Runners, seconds_per_token: float, age: Age) -> None:
        self.library = library
        self.runners = runners
        self.seconds_per_token = seconds_per_token
        self.answer_tokens = ANSWER_TOKENS
        self._age = age
        self.routes: dict[str, dict[str, Endpoint]] = {
            "/": _read_only(self._root),
            "/api/version": _read_only(self._version),
            "/api/tags": _read_only(self._tags),
            "/api/ps": {"GET": self._ps},
            "/api/show": {"POST": self._show},
            "/api/generate": {"POST": self._generate},
            "/api/chat": {"POST": self._chat},
            "/api/embed": {"POST": self._embed},
            "/api/embeddings": {"POST": self._embeddings},
        }

    async def _root(self, _body: bytes, _fault: Fault) -> Reply:
        return Reply(b"Ollama is running", content_type="text/plain; charset=utf-8")

    async def _version(self, _body: bytes, _fault: Fault) -> Reply:
        return json_reply({"version": VERSION})

    async def _tags(self, _body: bytes, _fault: Fault) -> Reply:
        return json_reply({"models": [listed(item, self._age) for item in self.library.tags()]})

    async def _ps(self, _body: bytes, _fault: Fault) -> Reply:
        return json_reply({"models": [listed(item, self._age) for item in self.runners.ps()]})

    async def _show(self, body: bytes, _fault: Fault) -> Reply:
        fields = decode("ShowRequest", parse_json(body))
        text = fields.get("model") or fields.get("name") or ""
        name = _name(text, RefusedError(400, "model is required"))
        model = self.library.find(name)
        if model is None:
            raise RefusedError(404, f"model '{name.shortest}' not found")
        return json_reply(model.show())

    async def _generate(self, body: bytes, fault: Fault) -> Reply | Stream:
        fields = decode("GenerateRequest", parse_json(body))
        fields.setdefault("model", "")
        fields.setdefault("prompt", "")
        model = self._find(fields, RefusedError(404, "model '' not found"))
        if fields.get("raw") and any(fields.get(key) for key in ("template", "system", "context")):
            raise RefusedError(400, "raw mode does not support template, system, or context")
        if not fields["prompt"] and fields.get("keep_alive") == 0:
            return self._unload(model, fields, {"response": ""})
        self._check_capabilities(model, fields, "generate")
        if fields.get("suffix") and "insert" not in model.capabilities:
            raise RefusedError(400, f"{model.name.full} does not support insert")
        return await self._complete(model, fields, fault, {} if fields["prompt"] else {"response": ""})

    async def _chat(self, body: bytes, fault: Fault) -> Reply | Stream:
        fields = decode("ChatRequest", parse_json(body))
        fields.setdefault("model", "")
        fields.setdefault("messages", [])
        model = self._find(fields, RefusedError(400, "model is required"))
        empty = {} if fields["messages"] else {"message": {"role": "assistant", "content": ""}}
        if empty and fields.get("keep_alive") == 0:
            return self._unload(model, fields, empty)
        self._check_capabilities(model, fields, "chat")
        if fields.get("tools") and "tools" not in model.capabilities:
            raise RefusedError(400, f"{model.name.full} does not support tools")
        return await self._complete(model, fields, fault, empty)

    def _find(self, fields: dict[str, Any], missing: RefusedError) -> Model:
        model = self.library.find(_name(fields["model"], missing))
        if model is None:
            raise RefusedError(404, f"model '{fields['model']}' not found")
        return model

    def _unload(self, model: Model, fields: dict[str, Any], empty: dict[str, Any]) -> Reply:
        self.runners.unload(model)
        return _single(fields, empty, "unload")

    @staticmethod
    def _check_capabilities(model: Model, fields: dict[str, Any], what: str) -> None:
        if "completion" not in model.capabilities:
            raise RefusedError(400, f'"{fields["model"]}" does not support {what}')
        think = fields.get("think")
        if think and "thinking" not in model.capabilities:
            raise RefusedError(400, f'"{fields["model"]}" does not support thinking')
        if isinstance(think, str) and not model.always_thinks:
            raise RefusedError(400, f'think value "{think}" is not supported for this model')

    async def _complete(
        self, model: Model, fields: dict[str, Any], fault: Fault, empty: dict[str, Any]
    ) -> Reply | Stream:
        options = checked_options(fields)
        load_ns = await self._load(model, options, fields.get("keep_alive"), fault)
        if empty:
            return _single(fields, empty, "load")
        await self.runners.slot()
        streams = fields.get("stream", True)
        error_type = RunnerError if streams else RefusedError
        format_error = _format_error(fields.get("format"), self._age)
        if format_error is not None:
            raise error_type(*format_error)
        made = generate(model, fields, options, load_ns, self.answer_tokens)
        made.times_one_token = self._age != "0.24"
        if made.prompt_cut and fields.get("truncate") is False:
            raise error_type(400, too_long(made.prompt_given, made.context, self._age))
        if streams:
            return Stream(made.lines(fault), self.seconds_per_token)
        if fault.endless:
            await asyncio.Event().wait()
        await asyncio.sleep(self.seconds_per_token * made.eval_count)
        if fault.error_after is not None:
            raise RefusedError(500, fault.message)
        return Reply(made.whole(fault))

    async def _load(self, model: Model, options: dict[str, Any], keep_alive: float | None, fault: Fault) -> int:
        if fault.load_failure:
            self.runners.crash(model)
            raise RefusedError(500, LOAD_FAILED)
        return await self.runners.load(model, options, keep_alive)

    async def _embed(self, body: bytes, fault: Fault) -> Reply:
        fields = decode("EmbedRequest", parse_json(body))
        text = fields.get("model", "")
        texts = fields.get("input", [])
        texts = [texts] if isinstance(texts, str) and texts else texts or []
        if not isinstance(texts, list) or not all(isinstance(item, str) for item in texts):
            raise RefusedError(400, "invalid input type")
        model = self._find_to_embed(text, RefusedError(404, "model '' not found"), match_case=False)
        options = checked_options(fields)
        load_ns = await self._load(model, options, fields.get("keep_alive"), fault)
        if not texts:
            return json_reply({"model": text, "embeddings": []})
        await self.runners.slot()
        if "embedding" not in model.capabilities:
            raise RefusedError(501, NO_EMBEDDINGS)
        limit = _embedding_limit(model, options)
        counts = [count_tokens(item) for item in texts]
        if fields.get("truncate") is False and max(counts) > limit:
            raise RefusedError(400, TOO_LONG)
        dimensions = fields.get("dimensions")
        vectors = [embedding(" ".join(item.split()[:limit]), model.width, dimensions) for item in texts]
        answer: dict[str, Any] = {"model": text, "embeddings": vectors}
        answer |= {"total_duration": load_ns + 1_000_000 * len(texts), "load_duration": load_ns}
        # Two more for each text: the model adds a start and an end token.
        answer["prompt_eval_count"] = sum(min(count, limit) + 2 for count in counts)
        return json_reply(answer)

    async def _embeddings(self, body: bytes, fault: Fault) -> Reply:
        fields = decode("EmbeddingRequest", parse_json(body))
        missing = RefusedError(400, "model is required")
        model = self._find_to_embed(fields.get("model", ""), missing, match_case=True)
        options = checked_options(fields)
        await self._load(model, options, fields.get("keep_alive"), fault)
        prompt = fields.get("prompt", "")
        if not prompt:
            return json_reply({"embedding": []})
        await self.runners.slot()
        if "embedding" not in model.capabilities:
            raise RefusedError(500, NO_EMBEDDINGS)
        if count_tokens(prompt) > _embedding_limit(model, options):
            raise RefusedError(500, TOO_LONG)
        return json_reply({"embedding": raw_embedding(prompt, model.width)})

    def _find_to_embed(self, text: str, missing: RefusedError, *, match_case: bool) -> Model:
        model = self.library.find(_name(text, missing), match_case=match_case)
        if model is None:
            raise RefusedError(404, f'model "{text}" not found, try pulling it first')
        return model


def _read_only(endpoint: Endpoint) -> dict[str, Endpoint]:
    return {"GET": endpoint, "HEAD": endpoint}


def _name(text: str, missing: RefusedError) -> Name:
    if not text.strip():
        raise missing
    rest, source = split_source(text)
    name = None if split_source(rest)[1] else parse_name(rest)
    if name is None:
        raise RefusedError(400, "invalid model name")
    if source == "cloud":
        raise RefusedError(403, "ollama cloud is disabled: remote model is unavailable")
    return name


def _single(fields: dict[str, Any], empty: dict[str, Any], reason: str) -> Reply:
    """Return the response to a load or unload request: one object, even if streamed."""
    head = {"model": fields["model"], "created_at": clock.now()}
    return json_reply(head | empty | {"done": True, "done_reason": reason})


def _format_error(wanted: Any, age: Age) -> tuple[int, str] | None:
    """Return status and message of Ollama's error for an invalid `format`."""
    if wanted in (None, "", "json"):
        return None
    if isinstance(wanted, dict):
        return fault_of_schema(wanted, age)
    quoted = dumps(dumps(wanted).decode()).decode()
    return 500, f'invalid format: {quoted}; expected "json" or a valid JSON Schema object'


def _embedding_limit(model: Model, options: dict[str, Any]) -> int:
    """Return the maximum tokens of a text: the context length minus the start and end tokens."""
    return max(1, min(int(options.get("num_ctx") or model.context_length), model.context_length) - 2)

"""The simulator's HTTP server, which records calls and applies faults."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from simulator.ages import Age
from simulator.calls import Call
from simulator.endpoints import Endpoints
from simulator.faults import Fault, FaultQueue
from simulator.models import DEFAULT_MODELS, Library
from simulator.names import parse_name
from simulator.runners import Runners
from simulator.wire.delivery import Delivery, reset
from simulator.wire.errors import RefusedError
from simulator.wire.origins import admitted
from simulator.wire.replies import PLAIN, Reply, Stream, error_reply
from simulator.wire.requests import parse_json


class _Server(web.Server):
    """Numbers connections, and cancels the handler of a connection that closes."""

    def __init__(self, simulator: "Simulator") -> None:
        super().__init__(simulator.handle, handler_cancellation=True, access_log=None)
        self._simulator = simulator
        self.numbers: dict[RequestHandler, int] = {}
        self.stopped = False

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        self.numbers[handler] = next(self._simulator.connection_numbers)
        super().connection_made(handler, transport)
        if self.stopped:  # after the connection was accepted
            transport.abort()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        self.numbers.pop(handler, None)
        super().connection_lost(handler, exc)


class Simulator:
    """Simulates the Ollama API, records the calls it receives and injects faults.

    Args:
        port: 0 selects a free port, which is kept across `stop()` and `start()`.
        host: The address to listen on.
        models: Names of the installed models.
        seconds_per_token: Delay before each token.
        load_seconds: Time to load a model before its first response.
        age: The version of Ollama that it speaks as.
    """

    def __init__(
        self,
        port: int = 0,
        host: str = "127.0.0.1",
        models: Iterable[str] | None = None,
        seconds_per_token: float = 0.0,
        load_seconds: float = 0.0,
        age: Age = "0.33",
    ) -> None:
        self.host = host
        self.port = port
        self.calls: list[Call] = []
        self._faults = FaultQueue()
        self._library = Library(DEFAULT_MODELS if models is None else models)
        self.install = self._library.install
        self.remove = self._library.remove
        self._runners = Runners(load_seconds)
        self._endpoints = Endpoints(self._library, self._runners, seconds_per_token, age)
        self._open: set[Call] = set()
        self._used_connections: set[int] = set()
        self.connection_numbers = itertools.count(1)
        self._arrival: asyncio.Event | None = None
        self._server: _Server | None = None
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """The base URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def open_calls(self) -> int:
        """Number of calls in progress."""
        return len(self._open)

    @property
    def open_connections(self) -> int:
        """Number of open connections, including idle ones."""
        return len(self._server.numbers) if self._server is not None else 0

    @property
    def loads(self) -> Counter[str]:
        """Number of loads by model, under its listed name."""
        return self._runners.loads

    @property
    def seconds_per_token(self) -> float:
        """Delay before each token, for new responses."""
        return self._endpoints.seconds_per_token

    @seconds_per_token.setter
    def seconds_per_token(self, seconds: float) -> None:
        self._endpoints.seconds_per_token = seconds

    @property
    def answer_tokens(self) -> int:
        """Number of tokens of a response that no limit truncates, without thinking."""
        return self._endpoints.answer_tokens

    @answer_tokens.setter
    def answer_tokens(self, count: int) -> None:
        self._endpoints.answer_tokens = count

    async def start(self) -> None:
        """Start the server; a no-op if it is running.

        Raises:
            OSError: if the port is in use.
        """
        if self._listener is not None:
            return
        server = _Server(self)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(server, self.host, self.port)
        self._server = server
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop the server: close its port, abort open connections and unload all models."""
        listener, server = self._listener, self._server
        if listener is None or server is None:
            return
        self._listener = self._server = None
        server.stopped = True
        loop = asyncio.get_running_loop()
        for listening in listener.sockets:
            with suppress(NotImplementedError):  # Windows
                loop.remove_reader(listening)
        await asyncio.sleep(0)  # otherwise asyncio fails on a connection accepted just before the server closes
        listener.close()
        running = list(self._open)
        busy = {call.connection for call in running}
        for call in running:
            call.cut = True
        for connection, number in list(server.numbers.items()):
            if number in busy:
                reset(connection.transport)
            elif connection.transport is not None:
                connection.transport.abort()
        for call in running:
            await call.ended_event.wait()
        await listener.wait_closed()
        self._runners.clear()

    def fault(self, fault: Fault) -> None:
        """Add a fault after the pending ones."""
        self._faults.arm(fault)

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    @property
    def lost_slot_probability(self) -> float:
        """The probability that a cancel in mid-stream costs the model its slot, as it can with Ollama."""
        return self._runners.lost_slot_probability

    @lost_slot_probability.setter
    def lost_slot_probability(self, probability: float) -> None:
        self._runners.lost_slot_probability = probability

    def lose_slot(self, name: str) -> None:
        """Let a model that runs lose its slot: requests to it wait for ever, until it is unloaded.

        Raises:
            KeyError: It is not installed, or does not run.
        """
        parsed = parse_name(name)
        model = None if parsed is None else self._library.find(parsed)
        if model is None:
            raise KeyError(name)
        self._runners.lose_slot(model)

    def calls_to(self, path: str) -> list[Call]:
        """Return the calls to a path."""
        return [call for call in self.calls if call.path == path]

    async def received(self, path: str, count: int = 1) -> Call:
        """Wait for the `count`-th call to a path, and return it."""
        while len(self.calls_to(path)) < count:
            if self._arrival is None:
                self._arrival = asyncio.Event()
            await self._arrival.wait()
        return self.calls_to(path)[count - 1]

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Handle one request, and record its outcome."""
        call = self._record(request)
        is_stream = False
        try:
            delivery = Delivery(request, call)
            reply = await self._reply(request, call, delivery)
            is_stream = isinstance(reply, Stream)
            response = await delivery.send(reply)
            call.end("completed")
            delivery.after_answer()
        except asyncio.CancelledError:
            call.end("reset" if call.cut else "client_gone")
            raise
        except ConnectionError:
            # The connection closed during a write; aiohttp discards the response returned here.
            call.end("reset" if call.cut else "client_gone")
            return web.Response()
        else:
            return response
        finally:
            self._runners.release(cancelled_in_stream=is_stream and call.outcome == "client_gone")
            self._open.discard(call)

    def _record(self, request: web.BaseRequest) -> Call:
        number = self._server.numbers.get(request.protocol, 0) if self._server is not None else 0
        call = Call(
            method=request.method,
            path=request.path,
            headers=request.headers,
            connection=number,
            reused=number in self._used_connections,
            started=asyncio.get_running_loop().time(),
        )
        self.calls.append(call)
        self._used_connections.add(number)
        self._open.add(call)
        if self._arrival is not None:
            self._arrival.set()
            self._arrival = None
        return call

    async def _reply(self, request: web.BaseRequest, call: Call, delivery: Delivery) -> Reply | Stream:
        body = await request.content.read()
        call.data = body
        call.body = _parsed(body)
        model = call.body.get("model") if isinstance(call.body, dict) else None
        delivery.fault = self._faults.take(call.path, model if isinstance(model, str) else None, reused=call.reused)
        instead = await delivery.before_answer()
        if instead is not None:
            return instead
        if not admitted(request.headers):
            return Reply(b"", 403, None)
        methods = self._endpoints.routes.get(request.path)
        if methods is None:
            return Reply(b"404 page not found", 404, PLAIN)
        if request.method not in methods:
            return Reply(b"405 method not allowed", 405, PLAIN, {"Allow": ", ".join(methods)})
        try:
            return await methods[request.method](body, delivery.fault)
        except RefusedError as refused:
            return error_reply(refused.status, refused.message, refused.media_type)


def _parsed(body: bytes) -> Any:
    try:
        return parse_json(body)
    except RefusedError:
        return None

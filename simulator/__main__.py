"""Run the simulator until SIGTERM or SIGINT: `python -m simulator`."""

import argparse
import asyncio
import contextlib
import errno
import logging
import os
import signal
import sys
import threading
from typing import get_args

from simulator import Simulator
from simulator.ages import Age

logger = logging.getLogger("simulator")


def main() -> int:
    """Run the simulator and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=11434, help="port to listen on (%(default)s)")
    parser.add_argument("--seconds-per-token", type=float, default=0.02, help="generation speed (%(default)s)")
    parser.add_argument("--load-seconds", type=float, default=0.5, help="time a model takes to load (%(default)s)")
    parser.add_argument("--age", choices=get_args(Age), default="0.33", help="Ollama's version (%(default)s)")
    parser.add_argument(
        "--lost-slots",
        type=float,
        default=0.0,
        metavar="PROBABILITY",
        help="how likely a cancel in mid-stream lets a model hang until it is unloaded (%(default)s)",
    )
    parser.add_argument("--until-stdin-closes", action="store_true", help="exit when standard input is closed")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    simulator = Simulator(
        port=arguments.port,
        host=arguments.host,
        seconds_per_token=arguments.seconds_per_token,
        load_seconds=arguments.load_seconds,
        age=arguments.age,
    )
    simulator.lost_slot_probability = arguments.lost_slots
    try:
        asyncio.run(_serve(simulator, until_stdin_closes=arguments.until_stdin_closes))
    except OSError as error:
        reason = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror
        logger.error("cannot listen on %s: %s; choose another with --port", simulator.url, reason)  # noqa: TRY400
        return 1
    return 0


async def _serve(simulator: Simulator, *, until_stdin_closes: bool) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Windows has no loop.add_signal_handler
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(ended.set))
    if until_stdin_closes:
        threading.Thread(target=_wait_for_stdin, args=(loop, ended), daemon=True).start()
    async with simulator:
        logger.warning("*** SIMULATED OLLAMA on %s: no model runs here, all responses are made up ***", simulator.url)
        await ended.wait()


def _wait_for_stdin(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    """Wait until the other end of standard input is closed, at the latest when its process ends."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    with contextlib.suppress(RuntimeError):  # the loop is already closed
        loop.call_soon_threadsafe(ended.set)


if __name__ == "__main__":
    sys.exit(main())

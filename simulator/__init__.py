"""Simulator of the Ollama API: run it with `python -m simulator`, or use `Simulator` as upstream in tests."""

from simulator.calls import Call, Outcome
from simulator.faults import Fault
from simulator.server import Simulator
from simulator.text import ANSWER_TOKENS, THINKING_TOKENS

__all__ = ["ANSWER_TOKENS", "THINKING_TOKENS", "Call", "Fault", "Outcome", "Simulator"]

"""Simulator of the Ollama API: run it with `python -m simulator`, or use `Simulator` as upstream in tests."""

from simulator.calls import Call, Outcome
from simulator.content.text import ANSWER_TOKENS, THINKING_TOKENS
from simulator.faults import Fault
from simulator.server import Simulator

__all__ = ["ANSWER_TOKENS", "THINKING_TOKENS", "Call", "Fault", "Outcome", "Simulator"]

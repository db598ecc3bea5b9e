"""A stand-in for Ollama's wire protocol: `python -m simulator`, and the tests' upstream."""

from simulator.calls import Call, Outcome
from simulator.faults import Fault
from simulator.server import Simulator
from simulator.text import ANSWER_TOKENS, THINKING_TOKENS

__all__ = ["ANSWER_TOKENS", "THINKING_TOKENS", "Call", "Fault", "Outcome", "Simulator"]

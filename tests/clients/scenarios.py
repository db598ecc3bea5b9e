"""Scenarios for all clients."""

from typing import Any

from simulator import Fault

MODEL = "llama3.1"
THINKING_MODEL = "gpt-oss"
UNKNOWN_MODEL = "gpt-4o"
EMBEDDING_MODEL = "nomic-embed-text"
UPSTREAM = "/api/chat"

QUESTION = "What is the score of week 3?"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"player": {"type": "string"}, "points": {"type": "number"}},
    "required": ["player", "points"],
    "additionalProperties": False,
}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "score",
        "description": "Points of a player.",
        "parameters": {"type": "object", "properties": {"week": {"type": "integer"}}, "required": ["week"]},
    },
}

BREAKS_IN_MIDSTREAM = Fault(path=UPSTREAM, error_after=3)
NEVER_ENDS = Fault(path=UPSTREAM, endless=True)
BUSY_ONCE = Fault(path=UPSTREAM, status=503, times=3)
BROKEN = Fault(path=UPSTREAM, status=500, times=None)
SILENT_FIRST = Fault(path=UPSTREAM, delay_seconds=0.5)

"""The form of OpenAPI's named examples."""

from typing import Any, TypedDict

Examples = dict[str, Any]


class Example(TypedDict):
    """A named example of OpenAPI's."""

    summary: str
    description: str
    value: Any


def named_example(summary: str, value: Any, description: str = "") -> Example:
    """Return a named example."""
    return {"summary": summary, "description": description, "value": value}

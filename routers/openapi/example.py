"""OpenAPI examples."""

from typing import Any, TypedDict


class Example(TypedDict):
    """An OpenAPI example."""

    summary: str
    description: str
    value: Any


Examples = dict[str, Any]
"""Values of `Example` by name."""


def named_example(summary: str, value: Any, description: str = "") -> Example:
    """Return an example with its summary."""
    return {"summary": summary, "description": description, "value": value}

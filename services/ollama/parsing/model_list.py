"""Parser of the model lists of `/api/tags` and `/api/ps`.

See https://docs.ollama.com/api/tags and https://docs.ollama.com/api/ps.
"""

from typing import Any, NamedTuple

from services.ollama.errors import OllamaResponseError
from services.ollama.types.model_names import ModelName, short_name

MAX_INTEGER = 2**53


class ParsedModels(NamedTuple):
    """Models by exact name, and the number of entries without a usable name."""

    models: dict[str, dict[str, Any]]
    skipped: int


def parse_models(document: object) -> ParsedModels:
    """Parse the models of `/api/tags` or `/api/ps`; `"models": null` is how Go writes an empty list.

    An entry without a usable name is skipped, as is a name that occurs twice. A value that is not of the documented
    type becomes None.

    Raises:
        OllamaResponseError: if it has no list of models, or a list without any usable entry.
    """
    entries = document.get("models", ()) if isinstance(document, dict) else ()
    if entries is None:
        entries = []
    if not isinstance(entries, list):
        raise _malformed()
    found: dict[str, dict[str, Any]] = {}
    skipped = 0
    for entry in entries:
        name = _exact_name(entry)
        if name is None:
            skipped += 1
        elif name not in found:
            found[name] = _item(name, entry)
    if skipped and not found:
        raise _malformed()
    return ParsedModels(found, skipped)


def whole_number(value: object) -> int | None:
    """Return a non-negative integer, also if written as `12.0`; None for anything else."""
    if type(value) is int:
        return value if 0 <= value <= MAX_INTEGER else None
    if type(value) is float and value.is_integer() and 0 <= value <= MAX_INTEGER:
        return int(value)
    return None


def _malformed() -> OllamaResponseError:
    return OllamaResponseError("Ollama's model list does not have the expected structure.")


def _exact_name(entry: object) -> str | None:
    """Return the name in an entry; old versions have `name` alone."""
    if isinstance(entry, dict):
        for name in (entry.get("model"), entry.get("name")):
            if isinstance(name, str) and _is_valid(name):
                return name
    return None


def _is_valid(name: str) -> bool:
    try:
        ModelName.parse(name)
    except ValueError:
        return False
    return name == name.strip()


def _item(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    item: dict[str, Any] = {"name": short_name(name), "model": name, "size": whole_number(entry.get("size"))}
    for key, kind in (("modified_at", str), ("digest", str), ("details", dict)):
        value = entry.get(key)
        item[key] = value if isinstance(value, kind) else None
    capabilities = entry.get("capabilities")
    if isinstance(capabilities, list):
        item["capabilities"] = [one for one in capabilities if isinstance(one, str)]
    return item

"""Validation of other settings: comma-separated lists, API keys, case-insensitive values."""

from collections.abc import Callable

from pydantic import SecretStr

BRACKETS_AND_QUOTES = "\"'`\u201c\u201d\u2018\u2019[]"  # around keys they come from another list syntax


def split_commas(value: object) -> object:
    """Split a comma-separated string into a list; other types are returned unchanged.

    Raises:
        ValueError: if all items are empty.
    """
    if not isinstance(value, str):
        return value
    parts = list(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
    if not parts:
        msg = "at least one value"
        raise ValueError(msg)
    return parts


def check_api_key(key: SecretStr) -> SecretStr:
    """Validate an API key.

    Raises:
        ValueError: if no client could send it in a header, or it has quotes or brackets around it.
    """
    value = key.get_secret_value()
    if not value.isprintable() or " " in value:
        raise ValueError("keys without spaces or control characters")
    if value != value.strip(BRACKETS_AND_QUOTES):
        raise ValueError("keys separated by commas, without quotes or brackets")
    return key


def ignore_case(*choices: str) -> Callable[[object], object]:
    """Return a function that replaces a string by the choice it equals in any case; other values are unchanged."""
    by_case = {choice.casefold(): choice for choice in choices}
    return lambda value: by_case.get(value.strip().casefold(), value) if isinstance(value, str) else value

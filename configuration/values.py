"""Validation of other settings: comma-separated lists, API keys, header names, case-insensitive values."""

import re
from collections.abc import Callable

from pydantic import SecretStr

BRACKETS_AND_QUOTES = "\"'`\u201c\u201d\u2018\u2019[]"  # around keys they come from another list syntax

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
RESERVED_HEADERS = {
    "accept",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "user-agent",
    "x-served-by",
}


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


def check_header_name(name: str) -> str:
    """Validate the name of a request header.

    Raises:
        ValueError: if it is not a header name, or one of a header that requests have anyway.
    """
    if not HEADER_NAME.fullmatch(name) or name.lower() in RESERVED_HEADERS:
        raise ValueError("the name of a header that requests do not have otherwise, such as X-Model")
    return name


def ignore_case(*choices: str) -> Callable[[object], object]:
    """Return a function that replaces a string by the choice it equals in any case; other values are unchanged."""
    by_case = {choice.casefold(): choice for choice in choices}
    return lambda value: by_case.get(value.strip().casefold(), value) if isinstance(value, str) else value

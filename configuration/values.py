"""Validation of other values in settings: lists, API keys, names in any case."""

from pydantic import SecretStr

BRACKETS_AND_QUOTES = "\"'`\u201c\u201d\u2018\u2019[]"  # around keys: left over from another way to write lists


def split_commas(value: object) -> object:
    """Turn `a, b` into a list; leave anything but text as it is."""
    if not isinstance(value, str):
        return value
    parts = list(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
    if not parts:
        msg = "at least one value, or nothing at all"
        raise ValueError(msg)
    return parts


def check_api_key(key: SecretStr) -> SecretStr:
    """Refuse an API key that no client could send, or that was not meant as it is written.

    Raises:
        ValueError: if it is refused.
    """
    value = key.get_secret_value()
    if not value.isprintable() or " " in value:
        raise ValueError("keys without spaces and control characters")
    if value != value.strip(BRACKETS_AND_QUOTES):
        raise ValueError("keys separated by commas, without quotes or brackets")
    return key


def lower_case(value: object) -> object:
    """Return text in lower case without space around it, anything else as it is."""
    return value.strip().lower() if isinstance(value, str) else value


def upper_case(value: object) -> object:
    """Return text in upper case without space around it, anything else as it is."""
    return value.strip().upper() if isinstance(value, str) else value

"""Extraction of the message from an error response, sanitized for clients.

Ollama sends `{"error": "text"}`, the model runner wraps its own JSON in that text, and gateways use other formats.
See https://docs.ollama.com/api/errors.
"""

import re
from typing import Any

import orjson

MESSAGE_KEYS = ("error", "message", "detail", "msg", "errors", "error_description", "title", "Status")
MAX_NESTING = 5
MAX_MESSAGE_LENGTH = 1000
ADDRESS = re.compile(
    r"""\w+://[^\s"']+ | \b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b | \[[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(%\w+)?\](:\d+)?
    | (?<![\w:.])[0-9a-fA-F:]*::[0-9a-fA-F:.]+
    | \blocalhost(:\d+)?\b | \b[\w.-]+:\d{4,5}\b | (?<=\blookup\ )\S+ | (?<=\bdial\ tcp\ )\S+
    | registry\.ollama\.ai/(library/)? | (?<![\w/])/([\w.-]+/)+[\w.-]*""",
    re.VERBOSE,
)
NEVER_SHOWN = re.compile(r"<html|<!doctype|<head|<body|\bTraceback\b|\bgoroutine \d", re.IGNORECASE)
QUOTA = re.compile(
    r"\bquota|insufficient_quota|usage[ _-]limit|out of credits?|credit balance"
    r"|credits? (?:are |is )?(?:exhausted|used)"
    r"|\b(?:hourly|daily|weekly|monthly|session|plan|billing|spend(?:ing)?|account|subscription)\b.{0,40}\blimits?\b"
    r"|\blimits?\b.{0,40}\b(?:per|this|for the|each) (?:hour|day|week|month)\b",
    re.IGNORECASE,
)
RATE = re.compile(r"\bper[ _-]?(?:second|minute)|/(?:s|sec|min)\b|\brpm\b|\btpm\b|concurren", re.IGNORECASE)


def error_message(document: object) -> str | None:
    """Return the message in the parsed JSON of an error response, or None if it has none."""
    return sanitize_message(_find_message(document, MAX_NESTING) or "")


def plain_text_message(body: bytes) -> str | None:
    """Return the message of an error response that is plain text, or None if it is HTML, empty or binary."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    if text.lstrip().startswith(("<", "{", "[")) or any(ord(character) < ord("\t") for character in text[:100]):
        return None
    return sanitize_message(text)


def sanitize_message(text: str) -> str | None:
    """Return the first line of a message, without addresses, file paths and the model runner's JSON wrapping."""
    text = _unwrap_json(text, MAX_NESTING)
    if NEVER_SHOWN.search(text[:MAX_MESSAGE_LENGTH]):
        return None
    line = next((line.strip() for line in text[: 4 * MAX_MESSAGE_LENGTH].splitlines() if line.strip()), "")
    line = ADDRESS.sub("", line[:MAX_MESSAGE_LENGTH])
    return "".join(character if character.isprintable() else " " for character in line).strip() or None


def says_quota_is_used_up(document: object, message: str | None) -> bool:
    """Return whether an error reports an exhausted quota, not a rate limit: retrying soon does not help."""
    error = document.get("error") if isinstance(document, dict) else None
    codes = [error.get(key) for key in ("code", "type")] if isinstance(error, dict) else []
    text = " ".join(part for part in (message, *codes) if isinstance(part, str))
    return QUOTA.search(text) is not None and RATE.search(text) is None


def _find_message(value: object, depth: int) -> str | None:
    if depth == 0:
        return None
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, list):
        return _find_message(value[0], depth - 1) if value else None
    if isinstance(value, dict):
        return next(filter(None, (_find_message(value.get(key), depth - 1) for key in MESSAGE_KEYS)), None)
    return None


def _unwrap_json(text: str, depth: int) -> str:
    before, brace, _ = text.partition("{")
    if not brace or depth == 0:
        return text
    try:
        inner: Any = orjson.loads(text[len(before) :])
    except orjson.JSONDecodeError:
        return text
    message = _find_message(inner, depth)
    return text if message is None else before + _unwrap_json(message, depth - 1)

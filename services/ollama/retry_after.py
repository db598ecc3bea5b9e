"""The `Retry-After` header of a response."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_SECONDS = 3600.0


def parse_retry_after(value: str | None) -> float | None:
    """Return the seconds that `Retry-After` asks to wait, at most an hour, or None if it is absent or malformed.

    Takes seconds, with a fraction too, and an HTTP date; one in the past says nothing.
    """
    if value is None or not value.isascii():
        return None
    text = value.strip()
    try:
        seconds = float(text) if text[:1].isdigit() else _seconds_until(text)
    except (ValueError, OverflowError):
        return None
    return min(seconds, MAX_SECONDS) if seconds >= 0 else None


def _seconds_until(http_date: str) -> float:
    moment = parsedate_to_datetime(http_date)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime.now(UTC)).total_seconds()

"""Timestamps in the format of Go's RFC 3339 encoder."""

import time
from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _nanoseconds(seconds: int, fraction: int) -> str:
    """Format a time with up to nine fractional digits, without trailing zeros."""
    digits = f"{fraction:09d}".rstrip("0")
    return f"{_second(seconds)}.{digits}Z" if digits else f"{_second(seconds)}Z"


def now() -> str:
    """Return the current time, for `created_at`."""
    return _nanoseconds(*divmod(time.time_ns(), 1_000_000_000))


def rfc3339(moment: datetime) -> str:
    """Format a datetime, for `modified_at` and `expires_at`."""
    return _nanoseconds(int(moment.timestamp()), moment.microsecond * 1000)

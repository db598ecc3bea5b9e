"""Values of Retry-After: seconds and dates."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from services.ollama.retry import parse_retry_after


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("1.5", 1.5),
        ("86400", 3600),
        ("9" * 400, 3600),
        ("-5", None),
        ("", None),
        (None, None),
        ("soon", None),
        ("7 seconds", None),
        ("7, 8", None),
        ("nan", None),
        ("inf", None),
        ("\u0663", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("Wed Oct 21 07:28:00 2015", None),
        ("Wed Oct 21 07:28:00 2199", 3600),
        ("Wed, 21 Oct 2199 07:28:00 GMT", 3600),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value) == seconds


def test_retry_after_as_a_date() -> None:
    value = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < (parse_retry_after(value) or 0) <= 30

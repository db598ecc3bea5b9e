"""The log lines of requests, parsed; their fields must be in the table of docs/operating.md."""

import logging
import re

import pytest

from tests.kinds import until
from tests.service_process import ROOT

TABLE = (ROOT / "docs" / "operating.md").read_text().partition("## Log\n")[2].partition("\n## ")[0]
DOCUMENTED = {name for row in re.findall(r"^\| (`.*?) \|", TABLE, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, str]]:
    """Return the request log lines so far, parsed from their text."""
    records = [record for record in caplog.records if record.name == "middleware.request_context"]
    texts = [record.getMessage() for record in records if record.levelno <= logging.INFO]
    assert all(text.isprintable() for text in texts)
    found = [dict(pair.split("=", 1) for pair in text.split(" ")) for text in texts]
    assert all(set(line) <= DOCUMENTED for line in found)
    return found


async def the_line(caplog: pytest.LogCaptureFixture) -> dict[str, str]:
    """Wait for the line of the one request."""
    await until(lambda: len(lines(caplog)) == 1)
    (line,) = lines(caplog)
    return line

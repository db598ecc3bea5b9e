"""The directory in which several server processes share their metrics."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from config import MULTIPROCESS_VARIABLE, multiprocess_directory


@contextmanager
def shared_metrics() -> Iterator[None]:
    """Create and set the directory in which server processes started in this context share their metrics.

    Raises:
        SystemExit: with a one-line message, if it cannot be created.
    """
    if multiprocess_directory() is not None:
        yield
        return
    try:
        made = TemporaryDirectory(prefix="ollama-service-metrics-", ignore_cleanup_errors=True)
    except OSError as error:
        raise SystemExit(
            f"WEB_CONCURRENCY above 1 needs a directory for temporary files (TMPDIR), or METRICS_ENABLED=false: {error}"
        ) from None
    with made as directory:
        os.environ[MULTIPROCESS_VARIABLE] = directory
        yield

"""The directory in which several server processes share their metrics."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from config import MULTIPROCESS_VARIABLE, multiprocess_directory


def shared_directory() -> Path | None:
    """Return the directory in which several server processes share their metrics, or None if there is one process.

    Raises:
        SystemExit: with one line, if it does not exist or cannot be written to.
    """
    directory = multiprocess_directory()
    if directory is not None and not (directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)):
        raise SystemExit(
            f"{MULTIPROCESS_VARIABLE} got '{directory}', expected a directory that can be written to. Server processes "
            "share their metrics in it; it has to be empty at the start."
        )
    return directory


@contextmanager
def shared_metrics() -> Iterator[None]:
    """Create and set the directory in which server processes started in this context share their metrics.

    Raises:
        SystemExit: with a one-line message, if it cannot be created or used.
    """
    if shared_directory() is not None:
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

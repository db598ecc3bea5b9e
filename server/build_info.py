"""What runs: version, commit, Python, libraries."""

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

VERSION = "0.1.0"
LIBRARIES = ("aiohttp", "fastapi", "orjson", "pydantic", "starlette", "uvicorn", "uvloop")


@cache
def python_version() -> str:
    """Return the version of Python, such as `3.13.1`."""
    return platform.python_version()


@cache
def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that matter most; one that is not installed is left out."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # uvloop, on Windows
            continue
    return found

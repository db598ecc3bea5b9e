"""Versions of the service, Python and the libraries."""

import platform
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

VERSION = "0.1.0"
LIBRARIES = ("aiohttp", "fastapi", "orjson", "pydantic", "starlette", "uvicorn", "uvloop")


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """Versions of the service, Python and the libraries, and the commit if it is known."""

    version: str
    commit: str | None
    python: str
    libraries: dict[str, str]


@cache
def build_info(commit: str | None) -> BuildInfo:
    """Return the versions; libraries that are not installed are omitted, such as uvloop on Windows."""
    libraries = {}
    for name in LIBRARIES:
        try:
            libraries[name] = version(name)
        except PackageNotFoundError:
            continue
    return BuildInfo(VERSION, commit, platform.python_version(), libraries)

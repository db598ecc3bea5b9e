"""What runs: version, commit, Python, libraries."""

import platform
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

VERSION = "0.1.0"
LIBRARIES = ("aiohttp", "fastapi", "orjson", "pydantic", "starlette", "uvicorn", "uvloop")


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """The versions of the service, of Python and of the libraries, and the commit if the build named it."""

    version: str
    commit: str | None
    python: str
    libraries: dict[str, str]


@cache
def build_info(commit: str | None) -> BuildInfo:
    """Return what runs; a library that is not installed is left out, as uvloop on Windows."""
    libraries = {}
    for name in LIBRARIES:
        try:
            libraries[name] = version(name)
        except PackageNotFoundError:
            continue
    return BuildInfo(VERSION, commit, platform.python_version(), libraries)

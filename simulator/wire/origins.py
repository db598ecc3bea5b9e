"""Checks of `Host` and `Origin` that Ollama performs on a loopback address."""

import ipaddress
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

_LOCAL_ORIGINS = {"localhost", "127.0.0.1", "0.0.0.0"}  # noqa: S104 - an origin's name, nothing is bound
_LOCAL_SCHEMES = ("app", "file", "tauri")


def admitted(headers: Mapping[str, str]) -> bool:
    """Return whether a request is allowed; others get 403 without a body."""
    host = headers.get("Host", "")
    origin = headers.get("Origin")
    return _host_admitted(host) and (origin is None or _origin_admitted(origin, host))


def _host_admitted(host: str) -> bool:
    name = (urlsplit(f"//{host}").hostname or "").lower()
    if name in {"", "localhost", socket.gethostname().lower()}:
        return True
    if name.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_private


def _origin_admitted(origin: str, host: str) -> bool:
    parts = urlsplit(origin)
    if parts.netloc == host or parts.scheme in _LOCAL_SCHEMES or parts.scheme.startswith("vscode-"):
        return True
    return parts.scheme in {"http", "https"} and parts.hostname in _LOCAL_ORIGINS

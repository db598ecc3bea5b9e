import ipaddress
import re
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from routers.asgi_scope import get_route_path
from routers.responses.problems import problem

LOCAL_HOSTS = ("*.localhost", "*.local", "*.internal")  # never resolved by public DNS; Ollama allows the same
SINGLE_LABEL = re.compile(r"[a-z0-9_-]+")
PORT = re.compile(rb":[0-9]*\Z")
BY_ADDRESS = ("/health", "/metrics")  # probes and scrapers send IP addresses
MAX_CACHED_HEADERS = 100  # bounded, as a client can write one host name in many ways


class AllowedHostsMiddleware:
    """Rejects requests whose `Host` is not allowed, which protects against DNS rebinding.

    Requests without `Host` are allowed, as browsers always send it. So are requests to `/health` and `/metrics` whose
    `Host` is an IP address, which Kubernetes and Prometheus send: DNS rebinding needs a name.

    Args:
        app: The wrapped app.
        hosts: Allowed host names in lower case; `*.example` for subdomains, IPv6 addresses in brackets.
        local_only: Check only requests that arrive at a loopback address, and also allow loopback addresses and names
            without a dot such as `localhost`, which no website has.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], *, local_only: bool = False) -> None:
        self._app = app
        self._names = frozenset(host for host in hosts if not host.startswith("*"))
        self._suffixes = tuple(host[1:] for host in hosts if host.startswith("*"))
        self._local_only = local_only
        self._allowed_headers: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "lifespan" or self._is_allowed(scope):
            await self._app(scope, receive, send)
            return
        detail = "The host name of this request is not allowed (ALLOWED_HOSTS)."
        await problem("host_not_allowed", detail, headers={"Connection": "close"})(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) == 1 and hosts[0] in self._allowed_headers:
            return True
        server = scope.get("server")
        if not hosts or (self._local_only and (server is None or not _is_loopback(server[0]))):
            return True
        names = [_host_name(host) for host in hosts]
        if all(map(self._is_allowed_name, names)):
            if len(hosts) == 1 and len(self._allowed_headers) < MAX_CACHED_HEADERS:
                self._allowed_headers.add(hosts[0])
            return True
        return get_route_path(scope).startswith(BY_ADDRESS) and all(_ip(name) for name in names)

    def _is_allowed_name(self, name: str) -> bool:
        if name in self._names or name.endswith(self._suffixes):
            return True
        return self._local_only and (SINGLE_LABEL.fullmatch(name) is not None or _is_loopback(name))


def _host_name(header: bytes) -> str:
    """Return the host of a `Host` header without its port, normalized as `hosts` are."""
    return PORT.sub(b"", header.strip()).decode("latin-1").lower().removesuffix(".")


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    ip = _ip(host)
    return ip is not None and ip.is_loopback

import ipaddress
import re
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from routers.asgi_scope import get_route_path
from routers.responses.problems import problem

LOCAL_HOSTS = ("*.localhost", "*.local", "*.internal")  # no public name server has these, as Ollama reckons too
SINGLE_LABEL = re.compile(r"[a-z0-9_-]+")
PORT = re.compile(rb":[0-9]*\Z")
BY_ADDRESS = ("/health", "/metrics")  # probes and scrapers know addresses, and no names
MAX_KNOWN = 100  # headers that are remembered, for a client can write one name in many ways


class AllowedHostsMiddleware:
    """Refuses requests whose `Host` names another host than the allowed ones, against DNS rebinding.

    A request without `Host` passes: browsers always send one. So does one to `/health` or `/metrics` with an IP
    address, as Kubernetes and Prometheus send it: no name was rebound.

    Args:
        app: The app behind it.
        hosts: Host names in lower case; `*.example` for subdomains, IPv6 addresses in brackets.
        local_only: Check only requests that arrive at a loopback address. Loopback addresses and names without a dot,
            such as `localhost`, may be named: no page on the internet has them.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], *, local_only: bool = False) -> None:
        self._app = app
        self._names = frozenset(host for host in hosts if not host.startswith("*"))
        self._suffixes = tuple(host[1:] for host in hosts if host.startswith("*"))
        self._local_only = local_only
        self._known: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "lifespan" or self._is_allowed(scope):
            await self._app(scope, receive, send)
            return
        detail = "The service does not answer to the host name that this request was sent to (ALLOWED_HOSTS)."
        await problem("host_not_allowed", detail, headers={"Connection": "close"})(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) == 1 and hosts[0] in self._known:
            return True
        server = scope.get("server")
        if not hosts or (self._local_only and (server is None or not _is_loopback(server[0]))):
            return True
        names = [_host_name(host) for host in hosts]
        if all(map(self._is_allowed_name, names)):
            if len(hosts) == 1 and len(self._known) < MAX_KNOWN:
                self._known.add(hosts[0])
            return True
        return get_route_path(scope).startswith(BY_ADDRESS) and all(_ip(name) for name in names)

    def _is_allowed_name(self, name: str) -> bool:
        if name in self._names or name.endswith(self._suffixes):
            return True
        return self._local_only and (SINGLE_LABEL.fullmatch(name) is not None or _is_loopback(name))


def _host_name(header: bytes) -> str:
    """Return the host of a `Host` header in the form of `hosts`, without its port."""
    return PORT.sub(b"", header.strip()).decode("latin-1").lower().removesuffix(".")


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    ip = _ip(host)
    return ip is not None and ip.is_loopback

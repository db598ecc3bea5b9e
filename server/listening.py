"""Check that the configured host and port can be bound, before the server starts."""

import errno
import ipaddress
import socket

REASONS = {
    errno.EADDRNOTAVAIL: "it is not an address of this machine",
    errno.EAFNOSUPPORT: "this machine does not support this kind of address",
}


def listen_problem(host: str, port: int) -> str | None:
    """Return a one-line error if no server can listen on the host and port, else None."""
    message = f"HOST got {host!r}, expected an address or host name of this machine"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return f"{message}: the name cannot be resolved. Some tools (conda) set HOST for other purposes; unset it then."
    unusable = None
    usable = 0
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
        except OSError as error:
            if error.errno in REASONS:
                unusable = f"{message}: {REASONS[error.errno]}."
            elif error.errno == errno.EADDRINUSE:
                return f"Port {port} of {host} is in use. Stop the other program, or set another PORT."
            elif error.errno == errno.EACCES:
                return f"PORT got {port}, expected a port that this user may listen on, such as 8000: {error.strerror}."
            else:
                return f"{message}: {error.strerror}."
        else:
            usable += 1
    return None if usable else unusable


def is_loopback(host: str) -> bool:
    """Return whether a host is loopback: reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().removesuffix(".") == "localhost"

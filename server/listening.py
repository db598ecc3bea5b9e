"""The check that a host and a port can be listened on, before a server tries to."""

import errno
import ipaddress
import socket

REASONS = {
    errno.EADDRNOTAVAIL: "it is no address of this machine",
    errno.EAFNOSUPPORT: "this machine has no such addresses",
}


def listen_problem(host: str, port: int) -> str | None:
    """Return one line that says why nothing can listen there, or nothing if something can."""
    takes = f"HOST got {host!r}, takes an address of this machine or a name for one"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return f"{takes}: no such name is known. Some environments (conda) set HOST to something else: unset it there."
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
                unusable = f"{takes}: {REASONS[error.errno]}."
            elif error.errno == errno.EADDRINUSE:
                return f"Port {port} of {host} is in use. Free it, or choose another with PORT."
            elif error.errno == errno.EACCES:
                return f"PORT got {port}, takes one that this user may listen on, such as 8000: {error.strerror}."
            else:
                return f"{takes}: {error.strerror}."
        else:
            usable += 1
    return None if usable else unusable


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach what listens on a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().removesuffix(".") == "localhost"
